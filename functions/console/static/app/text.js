// The language: messages from messages/en.js and messages/ko.js, and how numbers, times and sizes are written in it.
import en from "../messages/en.js";
import ko from "../messages/ko.js";

/** @typedef {keyof typeof en} Key */

const MESSAGES = /** @type {Record<string, Record<string, string>>} */ ({ en, ko });
const NAME = "vms:language";
const listeners = new Set();
let chosen = first();

function first() {
  let kept = null;
  try {
    kept = localStorage.getItem(NAME);
  } catch {
    // No storage: the browser's language it is.
  }
  const wanted = [kept, ...navigator.languages].map((each) => each?.slice(0, 2) ?? "");
  return wanted.find((each) => each in MESSAGES) ?? "en";
}

export const languages = /** @type {[string, string][]} */ ([["ko", "한국어"], ["en", "English"]]);
export const language = () => chosen;

/** @param {string} code */
export function setLanguage(code) {
  chosen = code;
  try {
    localStorage.setItem(NAME, code);
  } catch {
    // It holds as long as the tab.
  }
  document.documentElement.lang = code;
  for (const listener of listeners) listener();
}
document.documentElement.lang = chosen;

/** @param {() => void} listener */
export function onLanguage(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @param {string} key */
export const has = (key) => key in en;

/**
 * The message with this key. `{name}` in it is replaced by a value; `{n|one|many}` picks a form by a number.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const message = MESSAGES[chosen][key] ?? MESSAGES.en[key] ?? key;
  return message.replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (_, name, one, many) => {
    const value = values[name] ?? "";
    const written = typeof value === "number" ? number(value) : value;
    return one === undefined ? written : `${written} ${value === 1 ? one : many}`;
  });
}

/** With the region that the browser has for the language: 31/01/2030 in Britain. */
const locale = () => navigator.languages.find((each) => each.slice(0, 2) === chosen) ?? chosen;

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
export const number = (value, options) => new Intl.NumberFormat(locale(), options).format(value);

/** @param {string | null | undefined} time @param {Intl.DateTimeFormatOptions} [options] */
export function date(time, options = { dateStyle: "medium" }) {
  return time ? new Intl.DateTimeFormat(locale(), options).format(new Date(time)) : "–";
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ["kilobyte", "megabyte", "gigabyte", "terabyte"];
  const power = Math.min(Math.floor(Math.log(Math.max(bytes, 1024)) / Math.log(1024)), units.length);
  const value = bytes / 1024 ** power;
  return number(value, { style: "unit", unit: units[power - 1], maximumFractionDigits: value < 10 ? 1 : 0 });
}

/** @param {number} seconds as 1:02:03 */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
}
