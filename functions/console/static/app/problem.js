// Requests one by one, and what goes wrong with them: a problem document (RFC 9457) becomes a sentence.
import { has, size, t } from "./text.js";

/** The base URL of the API, under any stage, domain or proxy: this file is console/<version>/app/problem.js below it. */
export const ROOT = new URL("../../../", import.meta.url);

const PREFIX = "urn:vms:error:";

/** An answer that is not a success, or no answer at all (`status` 0). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{type?: string, detail?: string, instance?: string, errors?: {field: string, message: string}[]}} document
   * @param {number} [retryAfter] seconds
   */
  constructor(status, document, retryAfter) {
    super(document.detail ?? `HTTP ${status}`);
    this.status = status;
    this.kind = (document.type ?? "").replace(PREFIX, "");
    this.detail = document.detail ?? "";
    this.errors = document.errors ?? [];
    this.retryAfter = retryAfter;
    this.instance = document.instance ?? "";
  }

  /** @param {Response} answer */
  static async of(answer) {
    const document = await answer.json().catch(() => ({}));
    const seconds = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
    return new Problem(answer.status, document, Number.isNaN(seconds) ? undefined : seconds);
  }

  /** @param {Error} failure */
  static unreachable(failure) {
    return new Problem(0, { type: "unreachable", detail: String(failure.message) });
  }

  /** Whether another try may succeed: the network or the service failed for the moment. */
  get passes() {
    return [0, 429, 502, 503, 504].includes(this.status);
  }

  /** What people read of it, in their language. */
  get sentence() {
    const seconds = this.retryAfter;
    const wait = !seconds ? t("wait.moment")
      : seconds > 90 ? t("wait.minutes", { n: Math.ceil(seconds / 60) }) : t("wait.seconds", { n: seconds });
    const key = [`problem.${this.kind}`, `problem.${this.status}`].find(has);
    const { detail } = this;
    const [, videos, bytes] = detail.match(/(\d+) of its \d+ videos and (\d+) of/) ?? ["", 0, 0]; // what a quota has left
    return t(key ?? "problem.other", { wait, detail, videos: Number(videos), size: size(Number(bytes)) });
  }
}

// What the API says of a field, and the message that says it to people.
const FIELD_MESSAGES = /** @type {[RegExp, string][]} */ ([
  [/^Field required|^must not be blank|at least 1 character/, "field.required"],
  [/at least (\d+) characters/, "field.short"],
  [/at most (\d+) characters/, "field.long"],
  [/at most (\d+) bytes/, "field.bytes"],
  [/greater than or equal to 1$/, "field.empty-file"],
  [/less than or equal to/, "problem.too-large"],
  [/e-mail address/, "field.email"],
  [/invisible|control characters|NUL/, "field.invisible"],
  [/must be a time|out of range/, "field.time"],
  [/current|wrong/, "field.wrong-password"],
]);

/** @param {string} message */
export function fieldSentence(message) {
  for (const [pattern, key] of FIELD_MESSAGES) {
    const found = message.match(pattern);
    if (found) return t(key, { n: found[1] });
  }
  return t("field.other", { message });
}

/**
 * One request, without tokens and without another try.
 * @param {string} method
 * @param {string} path below the API's root
 * @param {{body?: unknown, headers?: Record<string, string>, signal?: AbortSignal, keepalive?: boolean}} [options]
 * @returns {Promise<Response>}
 */
export async function send(method, path, { body, headers = {}, signal, keepalive } = {}) {
  const binary = body instanceof Blob;
  const sent = body === undefined || binary ? body : JSON.stringify(body);
  /** @type {Record<string, string>} */
  const type = body === undefined ? {} : { "Content-Type": binary ? body.type : "application/json" };
  const url = new URL(path, ROOT);
  let answer;
  try {
    answer = await fetch(url, {
      method, headers: { ...type, ...headers }, body: /** @type {BodyInit | undefined} */ (sent), signal, keepalive,
      cache: method === "GET" ? "default" : "no-store",
    });
  } catch (failure) {
    if (signal?.aborted) throw failure;
    throw Problem.unreachable(/** @type {Error} */ (failure));
  }
  if (!answer.ok) throw await Problem.of(answer);
  return answer;
}
