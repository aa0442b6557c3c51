// What the console uses of vendor/media-chrome.js.
export function addTranslation(language: string, texts: Record<string, string>): void;
export function setLanguage(language: string): void;
