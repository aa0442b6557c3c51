// Keeps a <video> supplied with a playback URL that is good, resumes where one stopped, and reports what was watched.
import { api } from "../app/api.js";
import { Problem, ROOT, send } from "../app/problem.js";

const REPORT_EVERY = 10_000; // ms
const RESUME_FROM = 5; // seconds: who has seen less starts anew
const LEFT = 10; // seconds before the end from which one starts anew
const RENEWALS = 3; // failures in a row, without a second played in between
// WebKit takes a slice for the end of the file; Chromium and Firefox ask for the rest.
const WEBKIT = /applewebkit/i.test(navigator.userAgent) && !/chrom/i.test(navigator.userAgent);

/** @typedef {{problem?: unknown, resumed?: number, completed?: boolean}} Change */

export class Watching {
  /** @param {HTMLVideoElement} element @param {import("../app/api.js").Video} video @param {(change: Change) => void} tell */
  constructor(element, video, tell) {
    this.element = element;
    this.video = video;
    this.tell = tell;
    /** When the URL ends, by the browser's clock, in ms. */
    this.until = 0;
    this.failures = 0;
    this.timer = 0;
    /** Intervals that were played and not reported yet. @type {[number, number][]} */
    this.watched = [];
    /** Where the interval that is being played began. @type {number | null} */
    this.from = null;
    this.last = 0;
    this.reported = -1;
    this.renewing = false;
    this.gone = new AbortController();
  }

  async begin() {
    const { signal } = this.gone;
    /** @param {string} name @param {(event: Event) => void} run @param {EventTarget} [on] */
    const listen = (name, run, on = this.element) => on.addEventListener(name, run, { signal });
    listen("error", () => void this.failed());
    listen("playing", () => this.plays());
    listen("timeupdate", () => this.moves());
    listen("seeking", () => this.leaps());
    listen("ratechange", () => { this.element.defaultPlaybackRate = this.element.playbackRate; });
    listen("play", () => void this.check());
    listen("pause", () => { this.stops(); void this.report(); });
    listen("ended", () => { this.stops(); void this.report(); });
    listen("pagehide", () => { this.stops(); void this.report(true); }, window);
    listen("visibilitychange", () => document.visibilityState === "hidden" && void this.report(true), document);
    this.interval = setInterval(() => !this.element.paused && void this.report(), REPORT_EVERY);
    await this.renew(false, await this.resumePosition());
  }

  end() {
    this.stops();
    void this.report(true);
    clearTimeout(this.timer);
    clearInterval(this.interval);
    this.gone.abort();
    this.element.removeAttribute("src");
    this.element.load();
  }

  async resumePosition() {
    if (this.video.position === undefined || this.video.completed) return 0; // no such field: an older service
    const { position, duration } = await api.progress(this.video.id).catch(() => ({ position: 0, duration: null }));
    const resumes = position > RESUME_FROM && (!duration || position < duration - LEFT);
    if (resumes) this.tell({ resumed: position });
    return resumes ? position : 0;
  }

  restart() {
    this.element.currentTime = 0;
    this.tell({ resumed: 0 });
    void this.element.play();
  }

  // ---- The URL ---------------------------------------------------------------------------------------------------
  /** Another URL, at the same place of the film. @param {boolean} play @param {number} [at] seconds */
  async renew(play, at = this.element.currentTime) {
    if (this.renewing) return;
    this.renewing = true;
    this.tell({ problem: null });
    try {
      const { url, expires_at: end } = await api.playback(this.video.id, !WEBKIT);
      if (this.gone.signal.aborted) return;
      this.stops();
      // Of the answer only the token counts: what the service takes for its own address, a proxy may have changed.
      this.element.src = new URL(`v1/videos/stream/${this.video.id}${new URL(url).search}`, ROOT).href;
      if (at > 0) this.element.currentTime = at;
      this.until = Date.now() + lifeOf(url, end);
      clearTimeout(this.timer);
      const left = this.until - Date.now();
      this.timer = setTimeout(() => void this.renewInTime(), Math.max(1000, left - Math.min(60_000, left / 5)));
      if (play) await this.element.play().catch(() => undefined); // not allowed without a click: then it waits for one
    } catch (problem) {
      this.tell({ problem });
    } finally {
      this.renewing = false;
    }
  }

  /** Before its end where the film plays; a pause is renewed when it is over. */
  async renewInTime() {
    if (!this.element.paused && !this.element.ended) await this.renew(true);
  }

  /** Whether the URL ended during a pause. */
  async check() {
    if (Date.now() >= this.until && !this.element.error) await this.renew(true);
  }

  /** The element refuses: since the URL has ended, mostly. Else the service says why. */
  async failed() {
    const plays = !this.element.paused || this.failures > 0;
    this.failures += 1;
    if (this.failures <= RENEWALS) {
      const reason = await this.reason();
      if (!reason || reason.status === 401) return this.renew(plays);
      return this.tell({ problem: reason });
    }
    return this.tell({ problem: (await this.reason()) ?? new Problem(0, { type: "urn:vms:error:playback" }) });
  }

  /** What the service says to the first byte. @returns {Promise<Problem | null>} */
  async reason() {
    try {
      const path = `v1/videos/stream/${this.video.id}${new URL(this.element.src || ROOT).search}`;
      await send("GET", path, { headers: { Range: "bytes=0-0" } });
      return null;
    } catch (problem) {
      return /** @type {Problem} */ (problem);
    }
  }

  // ---- What was watched ------------------------------------------------------------------------------------------
  plays() {
    if (this.from === null) this.from = this.last = this.element.currentTime;
  }

  moves() {
    if (this.from === null || this.element.seeking) return;
    this.last = this.element.currentTime;
    if (this.last - this.from > 1) this.failures = 0;
  }

  leaps() {
    this.stops();
    if (!this.element.paused) this.from = this.last = this.element.currentTime;
  }

  stops() {
    if (this.from !== null && this.last > this.from) this.watched.push([round(this.from), round(this.last)]);
    this.from = null;
  }

  /** @param {boolean} [leaving] the page is being left: one request that outlives it */
  async report(leaving) {
    if (this.video.position === undefined) return;
    const plays = this.from !== null;
    this.stops();
    if (plays) this.from = this.last;
    const position = round(this.element.currentTime || this.last);
    if (this.watched.length === 0 && position === this.reported) return;
    if (this.element.readyState === 0 && this.watched.length === 0) return;
    const watched = this.watched.splice(0, 100);
    this.reported = position;
    try {
      const told = await api.reportProgress(this.video.id, { position, watched }, leaving);
      if (told.completed_at) this.tell({ completed: true });
    } catch (problem) {
      const status = problem instanceof Problem ? problem.status : 0;
      if (status >= 400 && status < 500 && status !== 401 && status !== 429) return; // refused: it would be again
      this.watched.unshift(...watched); // the next report says it
      this.reported = -1;
    }
  }
}

/** How long a URL is good for, in ms: by its token, since the browser's clock may be hours off.
 * @param {string} url @param {string} end */
function lifeOf(url, end) {
  try {
    const [, claims] = /** @type {string} */ (new URL(url).searchParams.get("token")).split(".");
    const { iat, exp } = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/")));
    return (exp - iat) * 1000;
  } catch {
    return Date.parse(end) - Date.now();
  }
}

/** @param {number} seconds */
function round(seconds) {
  return Math.round(seconds * 1000) / 1000;
}
