// The player: media-chrome's controls around a <video>, which `watching.js` keeps supplied and whose progress it reports.
import { api } from "../app/api.js";
import { Empty, Note, Retry, toast, useData, useTitle } from "../app/parts.js";
import { Poster } from "../app/pictures.js";
import { Problem } from "../app/problem.js";
import { refreshUser, session } from "../app/session.js";
import { clock, date, language, size, t } from "../app/text.js";
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { Delete, Rename } from "./editing.js";
import { Watching } from "./watching.js";

const POINTS_AFTER = 1500; // ms after the first picture: the view is committed before the first byte

/** @param {{params: string[]}} props */
export default function Watch({ params: [id] }) {
  const { data: video, problem, reload } = useData(() => api.video(id), [id]);
  const [changing, setChanging] = useState(/** @type {string | null} */ (null));
  useTitle(video?.name ?? t("watch"));
  if (problem instanceof Problem && [404, 422].includes(problem.status))
    return html`<${Empty} title=${t("no-film")} text=${t("problem.not-found")} heading="h1"><a href="#/library" role="button">${t("back")}</a><//>`;
  if (problem) return html`<h1>${t("watch")}</h1><${Retry} problem=${problem} reload=${reload} />`;
  if (!video) return html`<p class="starting" aria-busy="true"></p>`;
  const close = () => setChanging(null);
  const facts = [video.duration && clock(video.duration), video.width && `${video.width} × ${video.height}`, video.size && size(video.size)];
  return html`
    <a class="back" href="#/library">‹ ${t("library")}</a>
    <${Player} video=${video} />
    <header class="heading">
      <h1 dir="auto">${video.name}</h1>
      ${session.isAdmin && html`<div class="tools">
        <button type="button" class="secondary" onClick=${() => setChanging("rename")}>${t("rename")}</button>
        <button type="button" class="secondary" onClick=${() => setChanging("delete")}>${t("delete")}</button>
      </div>`}
    </header>
    <p class="facts">${[date(video.created_at), ...facts].filter(Boolean).join(" · ")}</p>
    ${changing === "rename" && html`<${Rename} video=${video} onClose=${close} onDone=${reload} />`}
    ${changing === "delete" && html`<${Delete} video=${video} onClose=${close} onDone=${() => { location.hash = "#/library"; }} />`}`;
}

/** @param {{video: import("../app/api.js").Video}} props */
function Player({ video }) {
  const ref = useRef(/** @type {HTMLVideoElement | null} */ (null));
  const frame = useRef(/** @type {HTMLElement | null} */ (null));
  const [ready, setReady] = useState(false);
  const [state, setState] = useState({ problem: /** @type {unknown} */ (null), resumed: 0, completed: video.completed ?? false });
  const [watching, setWatching] = useState(/** @type {Watching | null} */ (null));
  useEffect(() => {
    import("../vendor/media-chrome.js").then(async ({ addTranslation, setLanguage: speak }) => {
      addTranslation("ko", (await import("../messages/player-ko.js")).default);
      speak(language());
      setReady(true);
    }, () => setState((old) => ({ ...old, problem: new Problem(0, { type: "module" }) })));
  }, [language()]);
  useEffect(() => passKeys(frame.current), []);
  useEffect(() => {
    if (!ready || !ref.current) return undefined;
    const made = new Watching(ref.current, video, (change) => setState((old) => ({ ...old, ...change })));
    setWatching(made);
    void made.begin();
    return () => made.end();
  }, [ready, video.id]);
  const started = async () => {
    if (video.viewed) return; // its points were granted before
    const before = session.user?.point ?? 0;
    await new Promise((resolve) => setTimeout(resolve, POINTS_AFTER));
    const user = await refreshUser().catch(() => null);
    if (user && user.point > before) toast(t("points.granted", { n: user.point - before }));
  };
  if (!ready) return html`<div class="player" ref=${frame}><${Poster} video=${video} />
    ${state.problem && html`<div class="over"><${Note} problem=${state.problem} /></div>`}</div>`;
  const label = { tooltipplacement: "top" };
  return html`<div class="player" ref=${frame}>
    <media-controller lang=${language()} aria-label=${video.name} hotkeys="">
      <video slot="media" ref=${ref} playsinline preload="metadata" tabindex="-1" onPlaying=${once(started)}></video>
      <media-loading-indicator slot="centered-chrome" noautohide></media-loading-indicator>
      <media-control-bar class="seek"><media-time-range></media-time-range></media-control-bar>
      <media-control-bar>
        <media-play-button ...${label}></media-play-button>
        <media-seek-backward-button seekoffset="10" ...${label}></media-seek-backward-button>
        <media-seek-forward-button seekoffset="10" ...${label}></media-seek-forward-button>
        <media-mute-button ...${label}></media-mute-button>
        <media-volume-range class="wide"></media-volume-range>
        <media-time-display showduration></media-time-display>
        <span class="space"></span>
        <media-captions-button ...${label}></media-captions-button>
        <media-playback-rate-button rates="0.5 0.75 1 1.25 1.5 1.75 2" ...${label}></media-playback-rate-button>
        <media-pip-button class="wide" ...${label}></media-pip-button>
        <media-fullscreen-button ...${label}></media-fullscreen-button>
      </media-control-bar>
    </media-controller>
    ${state.problem && html`<div class="over"><${Note} problem=${state.problem} />
      <button type="button" onClick=${() => watching?.renew(true)}>${t("retry")}</button></div>`}
  </div>
  ${state.resumed > 0 && html`<p class="resumed" role="status">${t("resumed", { at: clock(state.resumed) })}
    <button type="button" class="quiet" onClick=${() => watching?.restart()}>${t("from-start")}</button></p>`}
  ${state.completed && html`<p class="resumed"><span class="mark completed">${t("completed")}</span></p>`}`;
}

/** Keys that nothing else on the page takes are the player's, so that Space plays without a click before.
 * @param {HTMLElement | null} frame */
function passKeys(frame) {
  const gone = new AbortController();
  /** @param {KeyboardEvent} event */
  const pass = (event) => {
    const taken = /** @type {HTMLElement} */ (event.target).closest("a, button, input, select, summary, dialog, media-controller");
    if (taken || ["ArrowUp", "ArrowDown"].includes(event.key)) return; // these scroll
    const refused = frame?.querySelector("media-controller")?.dispatchEvent(new KeyboardEvent(event.type, event)) === false;
    if (refused) event.preventDefault();
  };
  addEventListener("keydown", pass, { signal: gone.signal });
  addEventListener("keyup", pass, { signal: gone.signal });
  return () => gone.abort();
}

/** @param {() => void} run */
function once(run) {
  return (/** @type {Event} */ event) => {
    const element = /** @type {HTMLElement} */ (event.currentTarget);
    if (element.dataset.started) return;
    element.dataset.started = "yes";
    run();
  };
}
