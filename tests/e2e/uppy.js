// A page that uploads with Uppy: its calls of S3's multipart interface are the routes of the API, one to one.
import Uppy from "@uppy/core";
import AwsS3 from "@uppy/aws-s3";

const {api, token, stopAfter} = window.SETTINGS;
const called = [];
let upload, there;

const call = async (method, path, body) => {
  called.push(`${method} ${path}`);
  const headers = {Authorization: `Bearer ${token}`, "Content-Type": "application/json"};
  const answer = await fetch(api + path, {method, headers, body: body && JSON.stringify(body)});
  if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
  return answer.status === 204 ? null : answer.json();
};
const at = ({uploadId}) => `/v1/uploads/${uploadId}`;

const uppy = new Uppy();
uppy.use(AwsS3, {
  shouldUseMultipart: true,
  limit: 2,
  getChunkSize: () => upload.part_size,
  createMultipartUpload: () => ({uploadId: String(upload.id), key: upload.file_name}),
  async signPart(_, {partNumber, ...known}) {
    if (stopAfter && partNumber > stopAfter) await window.loseConnection();
    const [part] = await call("POST", `${at(known)}/parts`, {numbers: [partNumber]});
    return {url: part.url};
  },
  async listParts(_, known) {
    const {received} = await call("GET", at(known));
    there = received.map(({number}) => number);
    return received.map(({number, size, etag}) => ({PartNumber: number, Size: size, ETag: etag}));
  },
  async completeMultipartUpload(_, known) {
    const video = await call("POST", `${at(known)}/complete`);
    return {location: `${api}/v1/videos/id/${video.id}`, video};
  },
  abortMultipartUpload: (_, known) => call("DELETE", at(known)),
});

const plays = (url) => new Promise((resolve) => {
  const video = document.querySelector("video");
  video.muted = true;
  video.onerror = () => resolve(false);
  video.ontimeupdate = () => video.currentTime > 0 && resolve(true);
  video.src = url;
  video.play().catch(() => {});
});

// The upload of this file that stands, or else a new one.
const begin = async ({name, size}) => {
  const {items} = await call("GET", "/v1/uploads?limit=100");
  const standing = items.find((each) => each.status === "open" && each.file_name === name && each.size === size);
  upload = standing ?? await call("POST", "/v1/uploads", {file_name: name, size});
  return standing !== undefined;
};

window.cancel = () => uppy.cancelAll();
window.send = async () => {
  const [data] = document.querySelector("input").files;
  const stands = await begin(data);
  const id = uppy.addFile({name: data.name, type: data.type, data});
  if (stands) uppy.setFileState(id, {s3Multipart: {uploadId: String(upload.id), key: upload.file_name}});
  const {successful, failed} = await uppy.upload();
  if (!successful.length) return {called, there, error: failed[0]?.error};
  const video = Number(successful[0].uploadURL.split("/").at(-1));
  const {url} = await call("POST", `/v1/videos/${video}/playback`);
  return {called, there, video, plays: await plays(url)};
};
