// What users of OpenAI's client for Node.js do, done by that client. LUMIERE_URL is the service.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import test from "node:test";

import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: `${process.env.LUMIERE_URL}/v1`, apiKey: "none" });
const QUICK = { num_inference_steps: 2, seconds: "1" };
const LONG = { num_inference_steps: 100, seconds: "4" };
const DOT = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC",
  "base64",
);

async function finished(video) {
  while (video.status === "queued" || video.status === "in_progress") {
    const { data, response } = await client.videos.retrieve(video.id).withResponse();
    video = data;
    const pause = Number(response.headers.get("openai-poll-after-ms") ?? 0);
    await new Promise((done) => setTimeout(done, pause));
  }
  return video;
}

async function made(fields = {}) {
  const video = await finished(await client.videos.create({ prompt: "a red ball", ...QUICK, ...fields }));
  assert.equal(video.status, "completed", JSON.stringify(video.error));
  return video;
}

let ball;
test.before(async () => { ball = await made({ seed: 3 }); });

test("create answers at once, and the video is made", async () => {
  const { data, response, request_id } = await client.videos
    .create({ prompt: "a blue star", ...QUICK, metadata: { order: "7" } }).withResponse();
  assert.equal(data.status, "queued");
  assert.equal(data.seconds, "1");
  assert.deepEqual(data.metadata, { order: "7" });
  assert.match(request_id, /^req_/);
  assert.ok(Number(response.headers.get("openai-poll-after-ms")) > 0);
  const video = await finished(data);
  assert.deepEqual([video.status, video.progress, video.error], ["completed", 100, null]);
});

test("a file is the first frame", async () => {
  const file = await toFile(DOT, "dot.png");
  const video = await made({ input_reference: file });
  assert.equal(video.task, "image-to-video");
  const stored = await client.files.create({ file: await toFile(DOT, "dot.png"), purpose: "vision" });
  const again = await client.videos.create({ prompt: "a dot", ...QUICK, input_reference: { file_id: stored.id } });
  assert.equal(again.task, "image-to-video");
  await client.videos.delete(again.id);
  assert.equal((await client.files.delete(stored.id)).deleted, true);
});

test("the list is walked to its end", async () => {
  const ids = [];
  for (let number = 0; number < 3; number += 1) {
    ids.push((await client.videos.create({ prompt: `star ${number}`, ...QUICK })).id);
  }
  const listed = [];
  for await (const video of client.videos.list({ limit: 2, order: "asc" })) listed.push(video.id);
  assert.deepEqual(listed.slice(-3), ids);
  assert.equal(new Set(listed).size, listed.length);
  for (const id of ids) await client.videos.delete(id);
});

test("every variant is downloaded", async () => {
  const bytes = async (query) => Buffer.from(await (await client.videos.downloadContent(ball.id, query)).arrayBuffer());
  const film = await bytes();
  assert.equal(film.subarray(4, 8).toString(), "ftyp");
  assert.deepEqual(await bytes({ variant: "video" }), film);
  assert.equal((await bytes({ variant: "thumbnail" })).subarray(8, 12).toString(), "WEBP");
  assert.deepEqual([...(await bytes({ variant: "spritesheet" })).subarray(0, 3)], [0xff, 0xd8, 0xff]);
});

test("remix and edit", async () => {
  const remix = await client.videos.remix(ball.id, { prompt: "a green ball" });
  assert.deepEqual([remix.remixed_from_video_id, remix.prompt], [ball.id, "a green ball"]);
  const edit = await client.videos.edit({ prompt: "wood", video: { id: ball.id } });
  assert.deepEqual([edit.remixed_from_video_id, edit.task], [ball.id, "stylize"]);
  for (const video of [remix, edit]) await client.videos.delete(video.id);
});

test("delete", async () => {
  const video = await client.videos.create({ prompt: "a star", ...LONG });
  const gone = await client.videos.delete(video.id);
  assert.deepEqual([gone.id, gone.deleted, gone.object], [video.id, true, "video.deleted"]);
  await assert.rejects(client.videos.retrieve(video.id), OpenAI.NotFoundError);
});

test("errors have their names", async () => {
  const film = await toFile(DOT, "a.mp4");
  const cases = [
    [() => client.videos.create({ prompt: "a", size: "7x7" }), OpenAI.BadRequestError, "invalid_field", "size"],
    [() => client.videos.create({ prompt: "" }), OpenAI.BadRequestError, "invalid_field", "prompt"],
    [() => client.videos.create({ prompt: "a", model: "sora-2" }), OpenAI.BadRequestError, "unknown_model", "model"],
    [() => client.videos.retrieve("video_none"), OpenAI.NotFoundError, "video_not_found", "video_id"],
    [() => client.models.retrieve("sora-2"), OpenAI.NotFoundError, "model_not_found", "model_id"],
    [() => client.videos.createCharacter({ name: "Ada", video: film }), OpenAI.BadRequestError, "not_supported", null],
  ];
  for (const [call, kind, code, param] of cases) {
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof kind, `${error.constructor.name} instead of ${kind.name}`);
      assert.deepEqual([error.code, error.param], [code, param]);
      assert.match(error.requestID, /^req_/);
      return true;
    });
  }
});

test("a video that is not finished is a conflict, told at once", async () => {
  const video = await client.videos.create({ prompt: "a star", ...LONG });
  await assert.rejects(client.videos.downloadContent(video.id), OpenAI.ConflictError);
  await assert.rejects(client.videos.remix(video.id, { prompt: "b" }), OpenAI.ConflictError);
  await client.videos.delete(video.id);
});

test("webhook bodies as this service signs them are unwrapped", async () => {
  const key = Buffer.alloc(24, 7);
  const body = JSON.stringify({ id: "evt_1", object: "event", created_at: 1, type: "video.completed", data: { id: ball.id } });
  const stamp = String(Math.floor(Date.now() / 1000));
  const signature = createHmac("sha256", key).update(`evt_1.${stamp}.${body}`).digest("base64");
  const headers = { "webhook-id": "evt_1", "webhook-timestamp": stamp, "webhook-signature": `v1,${signature}` };
  const event = await client.webhooks.unwrap(body, headers, `whsec_${key.toString("base64")}`);
  assert.deepEqual([event.type, event.data.id], ["video.completed", ball.id]);
});
