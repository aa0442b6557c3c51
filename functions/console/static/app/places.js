// What a page was like when one left it, for when one comes back: by entry of the browser's history.
import { session } from "./session.js";

/** @type {Map<string, Record<string, any>>} */
const places = new Map();
let entry = history.state?.entry ?? Date.now();

const name = () => `${session.user?.id}/${entry}`;

/** Nothing of another user's. @returns {Record<string, any>} */
export const remembered = () => places.get(name()) ?? {};

/** @param {Record<string, unknown>} values */
export function remember(values) {
  places.set(name(), { ...remembered(), ...values });
}

history.scrollRestoration = "manual"; // by the browser it would be before the page has its content
history.replaceState({ entry }, "");
addEventListener("hashchange", () => {
  remember({ scroll: scrollY });
  entry = history.state?.entry ?? Date.now();
  history.replaceState({ entry }, "");
});
