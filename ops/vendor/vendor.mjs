// Regenerates functions/console/static/vendor from the packages that package.json pins: `make vendor`.
//
// Each library becomes one ES module, of just what the console uses; the style sheets are the packages' own files. The
// licences and versions of all that is inside are listed in README.md there. Run with the directory of node_modules and
// the target directory.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [from, target] = process.argv.slice(2);
const { build } = await import(pathToFileURL(createRequire(join(from, "package.json")).resolve("esbuild")));
const packages = join(from, "node_modules");

// The elements of media-chrome that the player is made of.
const ELEMENTS = [
  "media-controller", "media-control-bar", "media-play-button", "media-seek-backward-button",
  "media-seek-forward-button", "media-time-range", "media-time-display", "media-mute-button", "media-volume-range",
  "media-playback-rate-button", "media-captions-button", "media-pip-button", "media-fullscreen-button",
  "media-loading-indicator",
];
const MODULES = {
  "preact.js": `
    import { h } from "preact";
    import htm from "htm";
    export { Fragment, createContext, render } from "preact";
    export { useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useReducer, useRef, useState }
      from "preact/hooks";
    export const html = htm.bind(h);`,
  "media-chrome.js": `
    ${ELEMENTS.map((name) => `import "media-chrome/${name}";`).join("\n")}
    export { addTranslation, setLanguage } from "media-chrome/utils/i18n";`,
  "uppy.js": `export { Uppy } from "@uppy/core"; export { default as AwsS3 } from "@uppy/aws-s3";`,
  "uplot.js": `export { default as uPlot } from "uplot";`,
};
const SHEETS = {
  "pico.css": "@picocss/pico/css/pico.classless.min.css",
  "uplot.css": "uplot/dist/uPlot.min.css",
};

/** The package that a file of node_modules belongs to, the innermost one. */
function packageOf(path) {
  const found = path.replaceAll("\\", "/").match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  return found && [found[0], found[1]];
}

/** The text of a package's licence, or its name where the package has no such file. */
function licence(directory, described) {
  const file = readdirSync(directory).find((name) => /^licen[cs]e/i.test(name));
  return file ? readFileSync(join(directory, file), "utf-8").trim() : `${described.license}, as its package.json says.`;
}

/** SHA-256 of each <style> that the elements put into their shadow roots, for the page's Content-Security-Policy. */
async function styleHashes() {
  const hashes = new Set();
  for (const name of ELEMENTS) {
    const module = await import(pathToFileURL(join(packages, "media-chrome", "dist", `${name}.js`)));
    for (const element of Object.values(module).filter((each) => each?.getTemplateHTML)) {
      for (const [, style] of element.getTemplateHTML({}, {}).matchAll(/<style>([\s\S]*?)<\/style>/g)) {
        hashes.add(`sha256-${createHash("sha256").update(style).digest("base64")}`);
      }
    }
  }
  return [...hashes].sort();
}

for (const name of [...Object.keys(MODULES), ...Object.keys(SHEETS)]) rmSync(join(target, name), { force: true });
mkdirSync(target, { recursive: true });
const inside = new Map();
const rows = [];

for (const [name, contents] of Object.entries(MODULES)) {
  const made = await build({
    stdin: { contents, resolveDir: from, sourcefile: name },
    outfile: join(target, name),
    bundle: true, minify: true, format: "esm", target: "es2022", charset: "utf8", legalComments: "eof", metafile: true,
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const [output] = Object.values(made.metafile.outputs);
  for (const [path, { bytesInOutput }] of Object.entries(output.inputs)) {
    const [directory, found] = packageOf(join(process.cwd(), path)) ?? [];
    if (found && bytesInOutput) inside.set(found, { directory, files: inside.get(found)?.files.add(name) ?? new Set([name]) });
  }
}
for (const [name, path] of Object.entries(SHEETS)) {
  copyFileSync(join(packages, path), join(target, name));
  const [directory, found] = packageOf(join(packages, path));
  inside.set(found, { directory, files: inside.get(found)?.files.add(name) ?? new Set([name]) });
}
writeFileSync(join(target, "styles.json"), `${JSON.stringify(await styleHashes(), null, 1)}\n`);

const texts = [];
for (const [name, { directory, files }] of [...inside].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const described = JSON.parse(readFileSync(join(directory, "package.json"), "utf-8"));
  rows.push(`| ${name} | ${described.version} | ${described.license} | ${[...files].sort().join(", ")} |`);
  texts.push(`${name} ${described.version}\n\n${licence(directory, described)}\n`);
}
writeFileSync(join(target, "LICENCES.txt"), texts.join(`\n${"-".repeat(80)}\n\n`));
writeFileSync(
  join(target, "README.md"),
  `# Libraries of the console

Written by \`make vendor\` from the packages that \`ops/vendor/package.json\` pins; not edited by hand. Each \`.js\` file is
one ES module with just what the console uses, made by esbuild; the style sheets are the packages' own files.
\`styles.json\` has the hashes of the style sheets within media-chrome's elements, for the page's Content-Security-Policy.
The licences' texts are in \`LICENCES.txt\`.

| package | version | licence | in |
| --- | --- | --- | --- |
${rows.join("\n")}
`,
);
