// The uploads of this tab, which go on while other pages are shown. Uppy sends the parts; the API signs, lists and
// completes them. What was begun is remembered by the file's fingerprint, so that it goes on after a reload.
import { api, newKey, wait } from "../app/api.js";
import { toast } from "../app/parts.js";
import { Problem, ROOT } from "../app/problem.js";
import { onSession, session } from "../app/session.js";
import { t } from "../app/text.js";
import { makePoster } from "./poster.js";

/**
 * @typedef {object} Item
 * @property {string} key
 * @property {File} file
 * @property {"preparing" | "sending" | "paused" | "waiting" | "finishing" | "done" | "failed"} state
 * @property {number} sent bytes
 * @property {number} rate bytes a second
 * @property {unknown} [problem]
 * @property {string} [id] the upload's
 * @property {string} [uppyId]
 * @property {import("../app/api.js").Video} [video]
 * @property {AbortController} gone
 */

const NAME = `vms:uploads:${ROOT.pathname}`;
const SIGN_AT_ONCE = 8; // parts
const AT_THE_SAME_TIME = 4; // parts
const RETRY = [0, 1000, 3000, 5000, 10_000, 20_000, 30_000]; // ms

/** @type {Item[]} */
let items = [];
/** @type {any} */
let uppy = null;
const listeners = new Set();
/** Signed parts, by upload and number. @type {Map<string, {url: string, expires_at: string}>} */
const signed = new Map();

/** As the API wants them: all parts of a file have this many bytes, but the last. @type {WeakMap<File, number>} */
const partSizes = new WeakMap();
/** What was sent when, for the rate. @type {WeakMap<Item, {at: number, sent: number}>} */
const rates = new WeakMap();

export const all = () => items;
export const busy = () => items.some(({ state }) => ["preparing", "sending", "waiting", "finishing"].includes(state));

/** @param {() => void} listener */
export function onUploads(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @param {Item} item @param {Partial<Item>} change */
function update(item, change) {
  Object.assign(item, change);
  items = [...items];
  for (const listener of listeners) listener();
}

/** Whose uploads these are. They end here when their owner logs out, and go on when the file is chosen again. */
let owner = session.user?.id;
onSession(() => {
  if (session.user?.id === owner) return;
  owner = session.user?.id;
  for (const item of items) {
    item.gone.abort(new DOMException("logged out", "AbortError"));
    if (item.uppyId) uppy.removeFile(item.uppyId);
  }
  items = [];
  for (const listener of listeners) listener();
});

/** What has come of an upload, where its own page is not shown. @param {Item} item @param {string} key */
function tell(item, key) {
  if (!location.hash.startsWith("#/upload")) toast(`${item.file.name}: ${t(key)}`);
}

addEventListener("beforeunload", (event) => busy() && event.preventDefault());

// ---- What was begun, over a reload -------------------------------------------------------------------------------
/** @returns {Record<string, string>} */
function begun() {
  try {
    return JSON.parse(localStorage.getItem(NAME) ?? "{}");
  } catch {
    return {};
  }
}

/** @param {File} file */
const fingerprint = (file) => [file.name, file.size, file.lastModified].join("/");

/** @param {string} print @param {string} [id] forgotten without one */
function remember(print, id) {
  const known = begun();
  if (id) known[print] = id;
  else delete known[print];
  try {
    localStorage.setItem(NAME, JSON.stringify(known));
  } catch {
    // No storage: it goes on in this tab only.
  }
}

// ---- Uppy --------------------------------------------------------------------------------------------------------
/** One for all: files that come at once ask for it at once. @type {Promise<any> | null} */
let starting = null;
const start = () => (starting ??= make().catch((failure) => {
  starting = null; // not loaded: the next try asks again
  throw failure;
}));

async function make() {
  const { AwsS3, Uppy } = await import("../vendor/uppy.js");
  const nothing = () => undefined; // what goes wrong is said on the page
  const logger = { debug: nothing, warn: nothing, error: nothing };
  const made = new Uppy({ autoProceed: true, allowMultipleUploadBatches: true, logger });
  made.use(AwsS3, {
    shouldUseMultipart: true,
    limit: AT_THE_SAME_TIME,
    retryDelays: RETRY,
    getChunkSize: (/** @type {File} */ file) => /** @type {number} */ (partSizes.get(file)),
    createMultipartUpload: (/** @type {any} */ file) => ({ uploadId: file.meta.uploadId, key: file.meta.uploadId }),
    listParts: async (/** @type {any} */ file) => listed(file.meta.uploadId),
    signPart: (/** @type {any} */ file, /** @type {any} */ { partNumber, signal }) =>
      sign(file, partNumber, signal).catch((problem) => {
        if (problem instanceof Problem) void failed(itemOf(file), problem); // at once: Uppy would try for a minute
        throw problem;
      }),
    abortMultipartUpload: async () => undefined, // `discard` asks for it
    completeMultipartUpload: (/** @type {any} */ file) => complete(file),
  });
  made.on("upload-progress", (/** @type {any} */ file, /** @type {any} */ { bytesUploaded }) => {
    const item = itemOf(file);
    if (item) measure(item, bytesUploaded);
  });
  made.on("upload-error", (/** @type {any} */ file, /** @type {any} */ failure) => {
    const item = itemOf(file);
    if (item?.uppyId === file.id) void failed(item, failure);
  });
  uppy = made;
  return made;
}

/** @param {{meta: {item: string}} | undefined} file */
const itemOf = (file) => items.find(({ key }) => key === file?.meta.item);

/** What the API has of an upload, again and again while it cannot be reached.
 * @template T @param {Item | undefined} item @param {() => Promise<T>} ask @returns {Promise<T>} */
async function patiently(item, ask) {
  for (let tries = 1; ; tries += 1) {
    try {
      const answer = await ask();
      if (item?.state === "waiting") update(item, { state: "sending" });
      return answer;
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.passes || item?.gone.signal.aborted) throw problem;
      if (item && item.state !== "paused") update(item, { state: "waiting", rate: 0 });
      await Promise.race([
        wait(problem.retryAfter ?? Math.min(2 ** tries, 30), item?.gone.signal),
        new Promise((resolve) => addEventListener("online", resolve, { once: true })),
      ]);
    }
  }
}

/** @param {string} id */
async function listed(id) {
  const item = items.find((each) => each.id === id);
  const { received } = await patiently(item, () => api.upload(id));
  return received.map((/** @type {any} */ { number, size, etag }) => ({ PartNumber: number, Size: size, ETag: etag }));
}

/** @param {any} file @param {number} number @param {AbortSignal} signal */
async function sign(file, number, signal) {
  const id = file.meta.uploadId;
  const known = signed.get(`${id}/${number}`);
  if (!known || Date.parse(known.expires_at) < Date.now() + 60_000) {
    const last = Math.min(number + SIGN_AT_ONCE - 1, file.meta.partCount);
    const numbers = Array.from({ length: last - number + 1 }, (_, at) => number + at);
    for (const part of await patiently(itemOf(file), () => api.signParts(id, numbers))) signed.set(`${id}/${part.number}`, part);
  }
  signal?.throwIfAborted();
  const { url } = /** @type {{url: string}} */ (signed.get(`${id}/${number}`));
  signed.delete(`${id}/${number}`); // another try asks for another one, in case this one has ended
  return { url, method: "PUT" };
}

/** @param {any} file */
async function complete(file) {
  const item = /** @type {Item} */ (itemOf(file));
  update(item, { state: "finishing", rate: 0 });
  const making = makePoster(item.file).catch(() => null);
  const video = await patiently(item, () => api.completeUpload(file.meta.uploadId));
  remember(fingerprint(item.file));
  const picture = await making;
  if (picture) await api.putPoster(video.id, picture).catch(() => undefined); // a film without one has a drawing
  update(item, { state: "done", video, sent: item.file.size });
  tell(item, "upload.done");
  return { location: String(video.id) };
}

/** @param {Item} item @param {number} sent */
function measure(item, sent) {
  const now = performance.now();
  const before = rates.get(item) ?? { at: now, sent };
  const seconds = (now - before.at) / 1000;
  if (seconds > 0.5) {
    const rate = Math.max(0, (sent - before.sent) / seconds);
    rates.set(item, { at: now, sent });
    update(item, { sent, rate: item.rate ? item.rate * 0.6 + rate * 0.4 : rate });
  } else if (!rates.has(item)) rates.set(item, before);
  else update(item, { sent });
}

/** @param {Item | undefined} item @param {any} failure */
async function failed(item, failure) {
  if (!item || item.state === "done") return;
  const problem = failure instanceof Problem ? failure : failure?.cause instanceof Problem ? failure.cause : null;
  if (problem?.kind === "upload-ended" || problem?.status === 404) remember(fingerprint(item.file));
  const { uppyId } = item;
  update(item, { state: "failed", rate: 0, problem: problem ?? new Problem(0, { type: "urn:vms:error:upload" }), uppyId: undefined });
  tell(item, "upload.failed");
  // Else Uppy would send it again with the next file, before that one. Afterwards, when it has told everybody.
  setTimeout(() => uppyId && uppy.getFile(uppyId) && uppy.removeFile(uppyId));
}

// ---- What the page does ------------------------------------------------------------------------------------------
/** @param {Iterable<File>} files */
export function add(files) {
  for (const file of files) {
    if (items.some((each) => fingerprint(each.file) === fingerprint(file) && each.state !== "failed")) continue;
    const item = /** @type {Item} */ ({ key: newKey(), file, state: "preparing", sent: 0, rate: 0, gone: new AbortController() });
    items = [...items.filter((each) => fingerprint(each.file) !== fingerprint(file)), item];
    void send(item);
  }
  for (const listener of listeners) listener();
}

/** @param {Item} item */
async function send(item) {
  const { file } = item;
  const name = file.name.replace(/(?![\u200c\u200d])\p{C}/gu, ""); // without what cannot be seen, which no name may have
  try {
    const before = await standing(item);
    const upload = before ?? (await patiently(item, () =>
      api.createUpload({ file_name: name, size: file.size, name: name.replace(/\.[^.]+$/, "") || name }, item.key)));
    remember(fingerprint(file), String(upload.id));
    if (item.gone.signal.aborted) return;
    update(item, { id: String(upload.id), state: "sending" });
    partSizes.set(file, upload.part_size);
    const made = await start();
    const id = made.addFile({
      name: `${item.key}/${file.name}`, type: file.type, data: file,
      meta: { item: item.key, uploadId: String(upload.id), partCount: upload.part_count },
    });
    // Uppy begins some ms later. With this it asks which parts are there, and sends the others alone.
    if (before) made.setFileState(id, { s3Multipart: { key: String(upload.id), uploadId: String(upload.id) } });
    update(item, { uppyId: id });
  } catch (problem) {
    if (!item.gone.signal.aborted) await failed(item, problem);
  }
}

/** The upload that was begun of this file, if it can go on. @param {Item} item */
async function standing(item) {
  const id = begun()[fingerprint(item.file)];
  if (!id) return null;
  try {
    const upload = await patiently(item, () => api.upload(id));
    if (upload.status === "open" && upload.size === item.file.size) return upload;
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status !== 404) throw problem;
  }
  remember(fingerprint(item.file));
  return null;
}

/** @param {Item} item */
export function pauseOrResume(item) {
  const paused = uppy.pauseResume(item.uppyId);
  update(item, { state: paused ? "paused" : "sending", rate: 0 });
}

/** @param {Item} item */
export function retry(item) {
  update(item, { state: "preparing", problem: undefined });
  void send(item);
}

/** @param {Item} item */
export async function discard(item) {
  item.gone.abort(new DOMException("discarded", "AbortError"));
  items = items.filter((each) => each !== item);
  for (const listener of listeners) listener();
  if (item.uppyId) uppy.removeFile(item.uppyId);
  if (item.state === "done") return;
  remember(fingerprint(item.file));
  if (item.id) await api.abortUpload(item.id).catch(() => undefined); // it ends by itself after a day
}
