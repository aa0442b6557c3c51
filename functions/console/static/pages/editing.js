// What an admin does to a film, in dialogs: rename, delete.
import { api } from "../app/api.js";
import { Confirm, Field, FormDialog, toast, useForm } from "../app/parts.js";
import { t } from "../app/text.js";
import { html } from "../vendor/preact.js";

/** @typedef {import("../app/api.js").Video} Video */

/** @param {{video: Video, onClose: () => void, onDone: (video: Video) => void}} props */
export function Rename({ video, onClose, onDone }) {
  const form = useForm(async ({ name }) => {
    onDone(await api.changeVideo(video.id, { name }));
    onClose();
  });
  return html`<${FormDialog} title=${t("rename.title")} form=${form} action=${t("save")} onClose=${onClose}>
    <${Field} label=${t("name")} name="name" value=${video.name} error=${form.errorOf("name")} maxlength="255" required />
  <//>`;
}

/** @param {{video: Video, onClose: () => void, onDone: () => void}} props */
export function Delete({ video, onClose, onDone }) {
  const run = async () => {
    await api.deleteVideo(video.id);
    toast(t("deleted", { name: video.name }));
    onDone();
  };
  return html`<${Confirm} title=${t("delete.title")} text=${t("delete.text", { name: video.name })} action=${t("delete")}
    danger run=${run} onClose=${onClose} />`;
}
