// Requests to the service: the key, errors in words, and a job's events as an async iterator.

const KEY = "lumiere-key";
export const ENDED = new Set(["completed", "failed", "cancelled"]);

/** The service refused; `message` is for people. */
export class Refused extends Error {
  constructor(message, status, param) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

export const hasKey = () => Boolean(sessionStorage.getItem(KEY));

/** Asks for the key until one is given. */
async function askForKey() {
  const dialog = document.querySelector("#key-dialog");
  if (!dialog.open) dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const field = dialog.querySelector("#key");
  sessionStorage.setItem(KEY, field.value.trim());
  field.value = "";
}

let asking = null;

/** `fetch` with the key; a 401 asks for one and goes on. Other refusals throw `Refused`. */
export async function ask(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("The service does not answer.", 0);
    }
    if (answer.ok) return answer;
    if (answer.status !== 401) throw await refusal(answer);
    asking ??= askForKey().finally(() => { asking = null; });
    await asking;
  }
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const wait = answer.headers.get("retry-after");
  const again = answer.status === 429 && wait ? ` Try again in ${wait} s.` : "";
  return new Refused((problem.detail ?? problem.title ?? `Error ${answer.status}`) + again, answer.status, problem.param);
}

export const getJson = async (path) => (await ask(path)).json();
export const getBlob = async (path) => (await ask(path)).blob();

const LINK_SECONDS = 86_400;

/** Where an element of the page can load a video's content from: players and pictures send no key. */
export async function sourceOf(id, variant = "video") {
  const content = `/v1/videos/${id}/content?variant=${variant}`;
  if (!hasKey()) return content;
  const { url } = await getJson(`/v1/videos/${id}/link?variant=${variant}&expires_in=${LINK_SECONDS}`);
  // Nothing is loaded from elsewhere, and a link may lead to the store itself.
  return url.startsWith("/") ? url : URL.createObjectURL(await getBlob(content));
}

/** The events of a job up to its end; a broken connection is taken up where it broke. */
export async function* events(path, signal) {
  let last = "";
  for (let pause = 500; !signal.aborted; ) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const answer = await ask(path, { headers, signal });
      for await (const event of parse(answer.body)) {
        pause = 500;
        if (event.id) last = event.id;
        yield event;
        if (event.name === "state" && ENDED.has(event.data.status)) return;
      }
    } catch (error) {
      if (signal.aborted || error.status === 404) return;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 8000);
  }
}

/** A text/event-stream as events: https://html.spec.whatwg.org/multipage/server-sent-events.html */
async function* parse(body) {
  let rest = "";
  let event = { name: "message", id: "", data: "" };
  for await (const text of readable(body)) {
    const lines = (rest + text).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line) {
        if (event.data) yield { ...event, data: JSON.parse(event.data) };
        event = { name: "message", id: "", data: "" };
        continue;
      }
      const [, field, value] = line.match(/^([^:]*):? ?(.*)$/);
      if (field === "event") event.name = value;
      else if (field === "id") event.id = value;
      else if (field === "data") event.data += (event.data && "\n") + value;
    }
  }
}

async function* readable(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
