// What several pages are made of: short messages, fields, forms, dialogs, lists that load more.
import { Problem, fieldSentence } from "./problem.js";
import { language, t } from "./text.js";
import { html, useCallback, useEffect, useId, useRef, useState } from "../vendor/preact.js";

// ---- Short messages at the edge of the page ----------------------------------------------------------------------
/** @type {Set<(message: {id: number, text: string}) => void>} */
const toasted = new Set();
let toasts = 0;

/** @param {string} text */
export function toast(text) {
  toasts += 1;
  for (const listener of toasted) listener({ id: toasts, text });
}

/** The title of the browser's tab. @param {string | undefined} text left as it is without one */
export function useTitle(text) {
  useEffect(() => {
    if (text) document.title = `${text} · ${t("brand")}`;
  }, [text, language()]);
}

export function Toasts() {
  const [shown, setShown] = useState(/** @type {{id: number, text: string}[]} */ ([]));
  const ref = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (!ref.current?.showPopover) return; // an older browser, which shows them below its dialogs
    if (ref.current.matches(":popover-open")) ref.current.hidePopover();
    if (shown.length) ref.current.showPopover(); // as the last one, it is above every dialog
  }, [shown]);
  useEffect(() => {
    /** @param {{id: number, text: string}} message */
    const listener = (message) => {
      setShown((all) => [...all.slice(-2), message]);
      setTimeout(() => setShown((all) => all.filter(({ id }) => id !== message.id)), 6000);
    };
    toasted.add(listener);
    return () => void toasted.delete(listener);
  }, []);
  return html`<div ref=${ref} class="toasts" role="status" popover="manual">
    ${shown.map(({ id, text }) => html`<p key=${id}>${text}</p>`)}
  </div>`;
}

/** @param {{problem?: unknown, children?: unknown}} props */
export function Note({ problem, children }) {
  const text = problem instanceof Problem ? problem.sentence : problem ? t("problem.page") : "";
  const fields = problem instanceof Problem && problem.kind === "invalid" ? problem.errors.map(({ message }) => fieldSentence(message)) : [];
  return (text || children) && html`<div class="note" role="alert">
    <p>${[...new Set(fields)].join(" ") || text}${children}</p>
    ${problem instanceof Problem && problem.status >= 500 && problem.instance &&
      html`<small>${t("problem.instance", { id: problem.instance })}</small>`}
  </div>`;
}

/** What could not be loaded, and another try. @param {{problem: unknown, reload: () => void}} props */
export function Retry({ problem, reload }) {
  return problem && html`<${Note} problem=${problem} /><button type="button" class="secondary" onClick=${reload}>${t("retry")}</button>`;
}

/** @param {{title: string, text?: string, heading?: string, children?: unknown}} props */
export function Empty({ title, text, heading = "h2", children }) {
  return html`<section class="empty">
    <svg viewBox="0 0 48 48" aria-hidden="true"><rect x="5" y="10" width="38" height="28" rx="5" /><path d="m20 18 10 6-10 6z" /></svg>
    <${heading}>${title}<//>
    ${text && html`<p>${text}</p>`} ${children}
  </section>`;
}

// ---- Forms -------------------------------------------------------------------------------------------------------
/**
 * The state of a form: what it is refused with, whether it is on its way, and how often it was `done`.
 * @param {(data: Record<string, string>) => Promise<unknown>} submit
 * @param {(problem: Problem) => Record<string, string>} [place] which field a problem without a field is about
 */
export function useForm(submit, place = () => ({})) {
  const [busy, setBusy] = useState(false);
  const [done, setDone] = useState(0);
  const [refused, setRefused] = useState(/** @type {{problem: unknown, fields: Record<string, string>} | null} */ (null));
  /** @param {SubmitEvent} event */
  const onSubmit = async (event) => {
    event.preventDefault();
    if (busy) return;
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    setBusy(true);
    setRefused(null);
    try {
      await submit(/** @type {Record<string, string>} */ (Object.fromEntries(new FormData(form))));
      setDone((n) => n + 1);
    } catch (problem) {
      const said = problem instanceof Problem ? problem : null;
      const fields = Object.fromEntries(said?.errors.map(({ field, message }) => [field, fieldSentence(message)]) ?? []);
      const placed = { ...fields, ...(said ? place(said) : {}) };
      const names = Object.keys(placed);
      const shown = names.length > 0 && names.every((name) => form.elements.namedItem(name));
      setRefused({ problem: shown ? null : problem, fields: placed });
      requestAnimationFrame(() => /** @type {HTMLElement | null} */ (form.querySelector("[aria-invalid=true]"))?.focus());
    } finally {
      setBusy(false);
    }
  };
  /** @param {string} name */
  const errorOf = (name) => refused?.fields[name];
  return { busy, done, onSubmit, errorOf, note: html`<${Note} problem=${refused?.problem} />` };
}

/** Its value is where it begins: what was typed since stays, whatever is shown anew around it.
 * @param {{label: string, name: string, error?: string, hint?: string, value?: string} & Record<string, unknown>} props */
export function Field({ label, name, error, hint, value, ...input }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} name=${name} ...${input} defaultValue=${value} aria-invalid=${error ? "true" : undefined}
      aria-describedby=${described || undefined} />
    ${hint && html`<small id="${id}-hint">${hint}</small>`}
    ${error && html`<small id="${id}-error" class="error">${error}</small>`}
  </div>`;
}

/** As a field.
 * @param {{label: string, name: string, value: string, options: [string, string][], error?: string, compact?: boolean} & Record<string, unknown>} props */
export function Choice({ label, name, value, options, error, compact, ...select }) {
  const id = useId();
  return html`<div class=${compact ? "field compact" : "field"}>
    <label for=${id}>${label}</label>
    <select id=${id} name=${name} ...${select} aria-invalid=${error ? "true" : undefined}
      aria-describedby=${error ? `${id}-error` : undefined}>
      ${options.map(([each, text]) => html`<option value=${each} selected=${each === value}>${text}</option>`)}
    </select>
    ${error && html`<small id="${id}-error" class="error">${error}</small>`}
  </div>`;
}

/** @param {{busy?: boolean, children?: unknown} & Record<string, unknown>} props */
export function Submit({ busy, children, ...button }) {
  return html`<button type="submit" ...${button} aria-busy=${busy ? "true" : undefined} disabled=${busy}>${children}</button>`;
}

// ---- Dialogs -----------------------------------------------------------------------------------------------------
/** @param {{title: string, onClose: () => void, children?: unknown, locked?: boolean}} props */
export function Dialog({ title, onClose, children, locked }) {
  const ref = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    ref.current?.showModal();
    const first = /** @type {HTMLElement | null | undefined} */ (
      ref.current?.querySelector("[autofocus]") ?? ref.current?.querySelector("input, select"));
    first?.focus();
    // Afterwards, since what was focused may be taken away together with the dialog.
    return () => void setTimeout(() => (before?.isConnected ? before : document.getElementById("main"))?.focus());
  }, []);
  /** @param {Event} event */
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${ref} aria-labelledby=${id} onCancel=${cancel} onClose=${onClose}>
    <article>
      <header>
        <h2 id=${id}>${title}</h2>
        ${!locked && html`<button type="button" class="quiet icon" aria-label=${t("close")} onClick=${onClose}>✕</button>`}
      </header>
      ${children}
    </article>
  </dialog>`;
}

/**
 * A dialog with a form: what the form is refused with, its fields, and two buttons. Without fields a button has the
 * focus, the one that does no harm.
 * @param {{title: string, form: ReturnType<typeof useForm>, action: string, onClose: () => void, text?: string,
 *   danger?: boolean, children?: unknown} & Record<string, unknown>} props */
export function FormDialog({ title, form, action, onClose, text, danger, children, ...attributes }) {
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form ...${attributes} onSubmit=${form.onSubmit} novalidate>
      ${text && html`<p>${text}</p>`}
      ${form.note}
      ${children}
      <footer>
        <button type="button" class="secondary" autofocus=${!children && danger} onClick=${onClose}>${t("cancel")}</button>
        <${Submit} busy=${form.busy} class=${danger ? "danger" : ""} autofocus=${!children && !danger}>${action}<//>
      </footer>
    </form>
  <//>`;
}

/** Ask before something that others will notice.
 * @param {{title: string, text: string, action: string, danger?: boolean, run: () => Promise<unknown>, onClose: () => void}} props */
export function Confirm({ run, onClose, ...said }) {
  const form = useForm(async () => {
    await run();
    onClose();
  });
  return html`<${FormDialog} ...${said} form=${form} onClose=${onClose} />`;
}

// ---- Data --------------------------------------------------------------------------------------------------------
/**
 * A list that comes in pages, and is loaded anew when `of` changes. What was `kept` of it is shown until then.
 * @template T
 * @param {(cursor: string | null, count: number) => Promise<import("./api.js").Page<T>>} load `count`: as many are shown
 * @param {unknown[]} of
 * @param {{items: T[], next: string | null}} [kept]
 */
export function useList(load, of, kept) {
  const empty = { items: /** @type {T[] | null} */ (null), next: /** @type {string | null} */ (null), problem: /** @type {unknown} */ (null) };
  const [list, setList] = useState({ ...empty, ...kept });
  const [busy, setBusy] = useState(false);
  const latest = useRef(0);
  const fetchPage = useCallback(async (/** @type {string | null} */ cursor) => {
    latest.current += 1;
    const mine = latest.current;
    setBusy(true);
    try {
      const shown = mine === 1 && kept ? kept.items : [];
      const page = await load(cursor, shown.length);
      if (mine !== latest.current) return;
      const rest = shown.slice(page.items.length);
      setList((old) => ({
        items: cursor ? [...(old.items ?? []), ...page.items] : [...page.items, ...rest],
        next: rest.length && kept ? kept.next : page.next_cursor, problem: null,
      }));
    } catch (problem) {
      if (mine === latest.current) setList((old) => ({ ...old, problem }));
    } finally {
      if (mine === latest.current) setBusy(false);
    }
  }, of);
  useEffect(() => void fetchPage(null), [fetchPage]);
  return {
    ...list, busy,
    more: () => fetchPage(list.next),
    reload: () => fetchPage(null),
    /** @param {(items: T[]) => T[]} change */
    edit: (change) => setList((old) => ({ ...old, items: change(old.items ?? []) })),
  };
}

/** @param {{list: {next: string | null, busy: boolean, problem: unknown, more: () => void, reload: () => void}}} props */
export function More({ list }) {
  return html`<div class="more">
    <${Retry} problem=${list.problem} reload=${list.reload} />
    ${!list.problem && list.next && html`<button class="secondary" aria-busy=${list.busy ? "true" : undefined}
      onClick=${list.more}>${t("more")}</button>`}
  </div>`;
}

/**
 * @template T
 * @param {() => Promise<T>} load
 * @param {unknown[]} of
 */
export function useData(load, of) {
  const [state, setState] = useState({ data: /** @type {T | null} */ (null), problem: /** @type {unknown} */ (null) });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let gone = false;
    load().then(
      (data) => gone || setState({ data, problem: null }),
      (problem) => gone || setState({ data: null, problem }),
    );
    return () => void (gone = true);
  }, [...of, turn]);
  return { ...state, reload: () => setTurn((n) => n + 1) };
}
