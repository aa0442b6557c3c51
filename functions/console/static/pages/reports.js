// Shown when the service has it.
import { Empty } from "../parts.js";
import { t } from "../text.js";
import { html } from "../vendor/preact.js";

export default function Page() {
  return html`<h1>${t("reports")}</h1><${Empty} title=${t("unavailable")} />`;
}
