// The picture of a film: its poster, or a drawing where it has none.
import { api } from "./api.js";
import { html, useEffect, useState } from "../vendor/preact.js";

/** @typedef {import("./api.js").Video} Video */

/** Pictures that were fetched, by the ETag that names each one. @type {Map<string, Promise<string>>} */
const posters = new Map();

/** @param {{video: Video}} props */
export function Poster({ video }) {
  const [url, setUrl] = useState(/** @type {string | null} */ (null));
  useEffect(() => {
    if (!video.poster) return undefined;
    const name = `${video.id} ${video.poster}`;
    const found = posters.get(name) ?? api.poster(video.id).then(URL.createObjectURL);
    posters.set(name, found);
    let gone = false;
    found.then((address) => gone || setUrl(address), () => posters.delete(name));
    return () => void (gone = true);
  }, [video.id, video.poster]);
  return url ? html`<img class="poster" src=${url} alt="" />` : html`<${Placeholder} id=${video.id} />`;
}

/** A number of 32 bits that looks random (the finalizer of MurmurHash3). @param {number} n */
function mixed(n) {
  n = Math.imul(n ^ (n >>> 16), 0x85ebca6b);
  n = Math.imul(n ^ (n >>> 13), 0xc2b2ae35);
  return (n ^ (n >>> 16)) >>> 0;
}

/** A drawing that is always the same for a film: hills before a low sun, in colours of its id. @param {{id: number}} props */
function Placeholder({ id }) {
  const random = (/** @type {number} */ n) => mixed(id * 64 + n) / 2 ** 32;
  const hue = Math.round(random(1) * 360);
  const tone = (/** @type {number} */ turn, /** @type {number} */ s, /** @type {number} */ l) => `hsl(${(hue + turn) % 360} ${s}% ${l}%)`;
  const hill = (/** @type {number} */ n, /** @type {number} */ top) => {
    const [a, b, c] = [1, 2, 3].map((step) => top + random(n * 10 + step) * 26);
    return `M0 ${a} C 80 ${b - 24} 120 ${c + 18} 190 ${b} S 290 ${a - 18} 320 ${c} V180 H0Z`;
  };
  return html`<svg class="poster" viewBox="0 0 320 180" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
    <rect width="320" height="180" fill=${tone(0, 45, 72)} />
    <circle cx=${60 + random(4) * 200} cy=${52 + random(5) * 34} r=${20 + random(6) * 16} fill=${tone(40, 80, 86)} />
    <path d=${hill(1, 78)} fill=${tone(12, 38, 56)} />
    <path d=${hill(2, 106)} fill=${tone(24, 42, 42)} />
    <path d=${hill(3, 134)} fill=${tone(36, 46, 28)} />
  </svg>`;
}
