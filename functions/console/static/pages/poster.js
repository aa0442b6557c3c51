// A picture of a film, made by the browser: a frame on a canvas, as WebP below the limit of the API.
const MOST = 60 * 1024; // bytes
const WIDTH = 640;
const PATIENCE = 15_000; // ms

/** @param {HTMLVideoElement} film @param {string} name */
function happens(film, name) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name}`)), PATIENCE);
    film.addEventListener(name, () => { clearTimeout(timer); resolve(undefined); }, { once: true });
    film.addEventListener("error", () => { clearTimeout(timer); reject(film.error); }, { once: true });
  });
}

/** @param {HTMLCanvasElement} canvas @param {number} quality @returns {Promise<Blob | null>} */
const asWebp = (canvas, quality) => new Promise((resolve) => canvas.toBlob(resolve, "image/webp", quality));

/** Null where the browser cannot read the film or write WebP. @param {Blob} file @returns {Promise<Blob | null>} */
export async function makePoster(file) {
  const film = document.createElement("video");
  const url = URL.createObjectURL(file);
  try {
    film.muted = true;
    film.preload = "auto";
    film.src = url;
    await happens(film, "loadeddata");
    const sought = happens(film, "seeked");
    film.currentTime = Math.min(film.duration * 0.1, 10) || 0;
    await sought;
    const canvas = document.createElement("canvas");
    canvas.width = Math.min(WIDTH, film.videoWidth);
    canvas.height = Math.round((canvas.width * film.videoHeight) / film.videoWidth);
    canvas.getContext("2d")?.drawImage(film, 0, 0, canvas.width, canvas.height);
    for (const quality of [0.82, 0.65, 0.45, 0.25, 0.1]) {
      const picture = await asWebp(canvas, quality);
      if (picture?.type !== "image/webp") return null; // WebKit writes PNG instead
      if (picture.size <= MOST) return picture;
    }
    return null;
  } finally {
    film.removeAttribute("src");
    film.load();
    URL.revokeObjectURL(url);
  }
}
