// Uses the service at argv[2] with the types that openapi-typescript generates; prints what it saw as JSON.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };
type Problem = components["schemas"]["ProblemDocument"];

const baseUrl = process.argv[2];
const word = process.argv[3] ?? "";
const email = `admin-${word}@example.com`;
const password = "correct horse 1";
const seen: Record<string, unknown> = {};

const got = <T>(answer: { data?: T; error?: Problem; response: Response }): T => {
  if (answer.data === undefined) throw new Error(`${answer.response.status}: ${answer.error?.detail}`);
  return answer.data;
};

const anybody = createClient<paths>({ baseUrl });
const company = got(await anybody.POST("/v1/corporations", {
  body: { name: `company ${word}`, plan: "PAID", admin_email: email, admin_password: password },
}));
const tokens = got(await anybody.POST("/v1/auth/login", { body: { email, password } }));
const admin = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${tokens.access_token}` } });
const me = got(await admin.GET("/v1/auth/me"));
seen.own = me.corporation_id === company.id;

const film = { name: "Typed", file_path: "typed.mp4" };
const header = { "Idempotency-Key": word };
const video = got(await admin.POST("/v1/videos", { params: { header }, body: film }));
const again = await admin.POST("/v1/videos", { params: { header }, body: film });
seen.replayed = again.response.headers.get("Idempotency-Replayed") === "true" && got(again).id === video.id;
seen.renamed = got(await admin.PUT("/v1/videos/{video}", { params: { path: { video: video.id } }, body: { name: "타입" } })).name;
const page = got(await admin.GET("/v1/videos", { params: { query: { limit: 1 } } }));
seen.listed = page.items.map((each) => each.name);
seen.more = page.next_cursor !== null;

const refused = await admin.POST("/v1/users", { body: { email, password } });
if (refused.error === undefined) throw new Error("a taken address was given again");
seen.problem = [refused.error.status, refused.error.type];
const stream = await admin.GET("/v1/videos/stream/{video_id}", { params: { path: { video_id: video.id } } });
seen.stream = [stream.response.status, stream.error?.type];
const path = { video: video.id };
seen.removed = (await admin.DELETE("/v1/videos/{video}", { params: { path } })).response.status;
seen.restored = got(await admin.PUT("/v1/videos/{video}/restore", { params: { path } })).is_deleted;
console.log(JSON.stringify(seen));
