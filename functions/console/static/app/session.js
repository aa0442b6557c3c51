// Who is logged in: the tokens, their renewal, and what other tabs have to know of it.
//
// Tokens are kept in memory. With "keep me logged in" the refresh token is in localStorage too. Tabs of one session
// tell each other every new pair, renew one at a time where the browser has locks, and else rely on the server, which
// takes a used refresh token again for some seconds.
import { Problem, ROOT, send } from "./problem.js";

/** @typedef {import("openapi").components["schemas"]["User"]} User */
/**
 * @typedef {object} Session
 * @property {string} id a random name that the tabs of one log-in share
 * @property {string} access
 * @property {string} refresh
 * @property {number} until when the access token ends, in ms of the browser's clock
 * @property {User} user
 * @property {boolean} keep
 */

const NAME = `vms:${ROOT.pathname}`;
const EARLY = 20_000; // ms before the access token's end at which it is renewed
const channel = new BroadcastChannel(NAME);

/** @type {Session | null} */
let current = null;
/** @type {{email: string, done: (again: boolean) => void, promise: Promise<boolean>} | null} */
let asking = null;
/** @type {Promise<void> | null} */
let renewing = null;
const listeners = new Set();

export const session = {
  /** @returns {User | null} */
  get user() {
    return current?.user ?? null;
  },
  /** The e-mail address of whom to log in again, while a page waits for that. */
  get asking() {
    return asking?.email ?? null;
  },
  get keep() {
    return current?.keep ?? false;
  },
  get isAdmin() {
    return current?.user.role === "admin";
  },
};

/** @param {() => void} listener */
export function onSession(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function changed() {
  for (const listener of listeners) listener();
}

/** @returns {{id: string, refresh: string} | null} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(NAME) ?? "null");
  } catch {
    return null; // storage that is switched off, or of another hand
  }
}

/** @param {{id: string, refresh: string, keep: boolean}} session */
function store({ id, refresh, keep }) {
  try {
    if (keep) localStorage.setItem(NAME, JSON.stringify({ id, refresh }));
  } catch {
    // No storage: the session lasts as long as the tab.
  }
}

function forget() {
  try {
    if (stored()?.id === current?.id) localStorage.removeItem(NAME);
  } catch {
    // As above.
  }
}

/** @param {{access_token: string, refresh_token: string, expires_in: number}} pair */
function tokens(pair) {
  return { access: pair.access_token, refresh: pair.refresh_token, until: Date.now() + pair.expires_in * 1000 };
}

/** @param {string} access @returns {Promise<User>} */
async function whoIs(access) {
  const answer = await send("GET", "v1/auth/me", { headers: { Authorization: `Bearer ${access}` } });
  return answer.json();
}

/** @param {string} refresh */
async function refreshed(refresh) {
  const answer = await send("POST", "v1/auth/refresh", { body: { refresh_token: refresh } });
  return tokens(await answer.json());
}

/** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
async function alone(work) {
  return navigator.locks ? await navigator.locks.request(NAME, work) : work();
}

function tell() {
  channel.postMessage({ kind: "session", session: current });
}

/** Take up a session: that of another tab, or the one that is kept. */
export async function start() {
  const offered = await askOtherTabs();
  if (offered) {
    current = offered;
  } else if (stored()) {
    await alone(async () => {
      const kept = stored();
      if (!kept || current) return;
      try {
        const pair = { id: kept.id, keep: true, ...(await refreshed(kept.refresh)) };
        store(pair); // first of all: the one before is used up
        current = { ...pair, user: await whoIs(pair.access) };
        tell();
      } catch (problem) {
        if (problem instanceof Problem && problem.status === 401) localStorage.removeItem(NAME);
        else throw problem;
      }
    });
  }
  changed();
}

/** @returns {Promise<Session | null>} */
function askOtherTabs() {
  return new Promise((resolve) => {
    const timer = setTimeout(() => done(null), 120);
    /** @param {Session | null} found */
    const done = (found) => {
      clearTimeout(timer);
      channel.removeEventListener("message", listen);
      resolve(found);
    };
    /** @param {MessageEvent} event */
    const listen = ({ data }) => data.kind === "session" && data.session && done(data.session);
    channel.addEventListener("message", listen);
    channel.postMessage({ kind: "who" });
  });
}

channel.addEventListener("message", ({ data }) => {
  if (data.kind === "who" && current) tell();
  if (data.kind === "session" && current && data.session?.id === current.id) {
    // A tab that has not heard of the last renewal yet may say something of before it.
    current = data.session.until >= current.until ? data.session : { ...current, user: data.session.user };
    answerAsked(true);
    changed();
  }
  if (data.kind === "out" && data.id === current?.id) end();
});

/** @param {string} email @param {string} password @param {boolean} keep */
export async function logIn(email, password, keep) {
  const answer = await send("POST", "v1/auth/login", { body: { email, password } });
  const pair = tokens(await answer.json());
  const user = await whoIs(pair.access);
  const sameUser = current?.user.id === user.id;
  current = { id: sameUser && current ? current.id : crypto.randomUUID?.() ?? String(Math.random()), ...pair, user, keep };
  store(current);
  if (sameUser) tell();
  answerAsked(sameUser);
  changed();
}

export async function logOut() {
  if (!current) return;
  const { access, refresh } = current;
  end();
  /** @param {string} token */
  const leave = (token) => send("POST", "v1/auth/logout", { body: { refresh_token: refresh }, headers: { Authorization: `Bearer ${token}` } });
  await leave(access).catch(async (problem) => {
    // The access token has ended, as after a long pause: the session would go on without another one.
    if (problem instanceof Problem && problem.status === 401) await leave((await refreshed(refresh)).access);
  }).catch(() => undefined); // the tokens are gone from here; the server's end by themselves
}

/** The session is over here: of one's own will, or since the account or all of its sessions are gone. */
export function end() {
  if (!current) return;
  channel.postMessage({ kind: "out", id: current.id });
  forget();
  current = null;
  answerAsked(false);
  changed();
}

/** @param {boolean} again */
function answerAsked(again) {
  const waiting = asking;
  asking = null;
  waiting?.done(again);
}

/** An access token that is good for so many ms yet, null where nobody is logged in. */
export async function access(early = EARLY) {
  if (current && current.until - Date.now() < early) await renew(current.access).catch(() => undefined);
  return current?.access ?? null;
}

/**
 * Replace a token that is refused or about to end; asks to log in again where the session cannot be renewed.
 * @param {string | null} rejected
 * @returns {Promise<boolean>} whether there is another token now
 */
export async function renewOrAsk(rejected) {
  if (!current) return false;
  try {
    await renew(rejected);
    return true;
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status !== 401) throw problem;
    return askToLogIn();
  }
}

/** @param {string | null} rejected */
function renew(rejected) {
  if (current && current.access !== rejected) return Promise.resolve();
  renewing ??= alone(async () => {
    if (!current || current.access !== rejected) return; // another tab has done it
    const { id, keep, refresh } = current;
    const kept = stored();
    const pair = await refreshed(keep && kept?.id === id ? kept.refresh : refresh);
    if (current?.id !== id) return; // logged out meanwhile, which ends the new pair as well
    current = { ...current, ...pair };
    store(current);
    tell();
  }).finally(() => {
    renewing = null;
  });
  return renewing;
}

/** Show the log-in over the page, which keeps all that was typed. Resolves when that has an end. */
function askToLogIn() {
  if (!asking) {
    let done = /** @type {(again: boolean) => void} */ (() => undefined);
    const promise = /** @type {Promise<boolean>} */ (new Promise((resolve) => { done = resolve; }));
    asking = { email: current?.user.email ?? "", done, promise };
    changed();
  }
  return asking.promise;
}

/** Ask again who one is: points grow, roles change. */
export async function refreshUser() {
  const token = await access();
  const id = current?.id;
  if (!token) return null;
  const user = await whoIs(token);
  if (!current || current.id !== id) return null; // logged out meanwhile
  const before = current.user;
  current = { ...current, user };
  if (JSON.stringify(before) !== JSON.stringify(user)) {
    tell();
    changed();
  }
  return user;
}
