// The API's routes as functions. Types come from its OpenAPI document.
//
// 401 renews the tokens once, and else asks to log in over the page. 429, 502 and 503 are tried again when the server
// says so, and a lost connection after a while: but only requests that change nothing when they are sent twice, which
// are the safe ones and those that carry an Idempotency-Key.
import { toast } from "./parts.js";
import { Problem, ROOT, send } from "./problem.js";
import { access, refreshUser, renewOrAsk } from "./session.js";
import { t } from "./text.js";

/** @typedef {import("openapi").components["schemas"]} Schemas */
/** @typedef {Schemas["Video"] & Partial<Schemas["AdminVideo"]>} Video */
/** @typedef {Schemas["User"]} User */
/** @typedef {Schemas["Corporation"]} Corporation */
/** @template T @typedef {{items: T[], next_cursor: string | null}} Page */

const TRIES = 4;
const LONGEST_WAIT = 60; // seconds; what takes longer is for people to decide

/** @param {number} seconds @param {AbortSignal} [signal] */
export function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, key?: string, headers?: Record<string, string>, signal?: AbortSignal, keepalive?: boolean,
 *   repeatable?: boolean, quiet?: boolean, anonymous?: boolean}} [options]
 * @returns {Promise<Response>}
 */
async function call(method, path, options = {}) {
  const { key, quiet, anonymous, repeatable = method === "GET" || key !== undefined, ...rest } = options;
  for (let tries = 1; ; tries += 1) {
    const token = anonymous ? null : await access(options.keepalive ? 0 : undefined); // who leaves has no time to renew
    const headers = { ...rest.headers };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (key) headers["Idempotency-Key"] = `"${key}"`;
    try {
      return await send(method, path, { ...rest, headers });
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status === 401 && !anonymous && tries < TRIES && (await renewOrAsk(token))) continue;
      if (problem.kind === "forbidden") void refreshUser().catch(() => undefined); // of another role since
      const seconds = problem.retryAfter ?? tries;
      if (!repeatable || !problem.passes || tries >= TRIES || seconds > LONGEST_WAIT) throw problem;
      if (!quiet) toast(t(problem.status ? "again" : "again.unreachable", { n: seconds }));
      await wait(seconds, options.signal);
    }
  }
}

/** @param {Parameters<typeof call>} request */
async function json(...request) {
  const answer = await call(...request);
  return answer.status === 204 ? null : answer.json();
}

/** @param {Record<string, string | number | boolean | null | undefined>} values */
function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

/** A random Idempotency-Key. */
export function newKey() {
  return crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
}

/** The Idempotency-Keys of a form: the same key for the same data, so that after a lost answer nothing is made twice. */
export function formKeys() {
  let of = "";
  let key = "";
  return (/** @type {unknown} */ data) => {
    if (of !== JSON.stringify(data)) [of, key] = [JSON.stringify(data), newKey()];
    return key;
  };
}

export const api = {
  /** @param {object} body @param {string} key */
  signUp: (body, key) => json("POST", "v1/corporations", { body, key, anonymous: true }),
  /** @returns {Promise<Corporation>} */
  corporation: async () => (await json("GET", "v1/corporations")).items[0],
  /** @param {number} id @returns {Promise<Schemas["Quota"]>} */
  quota: (id) => json("GET", `v1/corporations/id/${id}/quota`),
  /** @param {number} id @param {object} body */
  changeCorporation: (id, body) => json("PUT", `v1/corporations/${id}`, { body, repeatable: true }),

  /** @param {{limit?: number, cursor?: string | null, q?: string, deleted?: boolean, sort?: string}} [of]
   * @returns {Promise<Page<Video>>} */
  videos: (of = {}) => json("GET", `v1/videos${query(of)}`),
  /** @param {number | string} id @returns {Promise<Video>} */
  video: (id) => json("GET", `v1/videos/id/${encodeURIComponent(id)}`), // from the address, which a stranger may have written
  /** @param {number} id @param {object} body @returns {Promise<Video>} */
  changeVideo: (id, body) => json("PUT", `v1/videos/${id}`, { body, repeatable: true }),
  /** @param {number} id */
  deleteVideo: (id) => json("DELETE", `v1/videos/${id}`),
  /** @param {number} id @returns {Promise<Video>} */
  restoreVideo: (id) => json("PUT", `v1/videos/${id}/restore`),
  /** @param {number} id @param {boolean} slices @returns {Promise<{url: string, expires_at: string}>} */
  playback: (id, slices) => json("POST", `v1/videos/${id}/playback`, { body: { slices }, repeatable: true }),

  /** @param {number} id @returns {Promise<Schemas["Progress"]>} */
  progress: (id) => json("GET", `v1/videos/${id}/progress`, { quiet: true }),
  /** @param {number} id @param {Schemas["Report"]} body @param {boolean} [leaving] @returns {Promise<Schemas["Progress"]>} */
  reportProgress: (id, body, leaving) =>
    json("PUT", `v1/videos/${id}/progress`, { body, keepalive: leaving, repeatable: !leaving, quiet: true }),
  /** @param {number} id @param {AbortSignal} [signal] */
  poster: async (id, signal) =>
    (await call("GET", `v1/videos/${id}/poster`, { headers: { Accept: "image/webp" }, quiet: true, signal })).blob(),
  /** @param {number} id @param {Blob} body */
  putPoster: (id, body) => call("PUT", `v1/videos/${id}/poster`, { body, repeatable: true, quiet: true }),

  /** @param {Schemas["NewUpload"]} body @param {string} key @returns {Promise<Schemas["Upload"]>} */
  createUpload: (body, key) => json("POST", "v1/uploads", { body, key }),
  /** @returns {Promise<Page<Schemas["Upload"]>>} */
  uploads: () => json("GET", "v1/uploads?limit=50"),
  /** @param {number | string} id @returns {Promise<Schemas["UploadWithParts"]>} */
  upload: (id) => json("GET", `v1/uploads/${id}`),
  /** @param {number | string} id @param {number[]} numbers */
  signParts: (id, numbers) => json("POST", `v1/uploads/${id}/parts`, { body: { numbers }, repeatable: true }),
  /** @param {number | string} id @returns {Promise<Video>} */
  completeUpload: (id) => json("POST", `v1/uploads/${id}/complete`, { repeatable: true }),
  /** @param {number | string} id */
  abortUpload: (id) => json("DELETE", `v1/uploads/${id}`, { repeatable: true }),

  /** @param {{limit?: number, cursor?: string | null}} [of] @returns {Promise<Page<User>>} */
  users: (of = {}) => json("GET", `v1/users${query(of)}`),
  /** @param {object} body @param {string} key @returns {Promise<User>} */
  addUser: (body, key) => json("POST", "v1/users", { body, key }),
  /** Again only without the current password, which another one has taken the place of then.
   * @param {number} id @param {object} body @returns {Promise<User>} */
  changeUser: (id, body) => json("PUT", `v1/users/${id}`, { body, repeatable: !("current_password" in body) }),
  /** @param {number} id */
  deleteUser: (id) => json("DELETE", `v1/users/${id}`),
  /** @param {number} id */
  endSessions: (id) => json("DELETE", `v1/tokens/${id}`, { repeatable: true }),

  /** @param {string} name @param {Record<string, string | number | null | undefined>} of */
  report: (name, of) => json("GET", `v1/reports/${name}${query(of)}`),
  /** The whole report as a file, which comes in pieces. @param {string} name
   * @param {Record<string, string | number | null | undefined>} of */
  reportCsv: async (name, of) => {
    const pieces = [];
    for (let path = /** @type {string | null} */ (`v1/reports/${name}${query({ ...of, format: "csv" })}`); path;) {
      const answer = await call("GET", path);
      const text = await answer.text();
      pieces.push(pieces.length ? text.slice(text.indexOf("\n") + 1) : `\ufeff${text}`); // text() takes the mark off
      const next = answer.headers.get("Link")?.match(/<([^>]*)>;\s*rel="?next/)?.[1];
      path = next ? `v1/reports/${name}${new URL(next, ROOT).search}` : null;
    }
    return new Blob(pieces, { type: "text/csv;charset=utf-8" });
  },
};
