// The videos on the right: live while they are made, to be watched and used again afterwards.

import { ask, ENDED, events, getBlob, getJson, Refused, sourceOf } from "./api.js";

const PAGE = 12;
const WORDS = { queued: "Waiting", in_progress: "Being made", completed: "Done", failed: "Failed", cancelled: "Cancelled" };
const RETRIES = 20;

export class Gallery {
  /** `announce(text)` tells those who do not see it; `form` takes seeds and videos. */
  constructor(root, form, announce) {
    this.list = root.querySelector("#cards");
    this.empty = root.querySelector("#empty");
    this.more = root.querySelector("#more");
    this.form = form;
    this.announce = announce;
    this.more.addEventListener("click", () => this.load());
  }

  async load() {
    const last = this.list.lastElementChild?.dataset.id;
    const page = await getJson(`/v1/videos?limit=${PAGE}${last ? `&after=${last}` : ""}`);
    for (const video of page.data) {
      if (!this.list.querySelector(`[data-id="${video.id}"]`)) this.list.append(new Card(video, this).element);
    }
    this.more.hidden = !page.has_more;
    this.count();
  }

  add(video) {
    const card = new Card(video, this);
    this.list.prepend(card.element);
    this.count();
    card.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  count() { this.empty.hidden = this.list.childElementCount > 0; }
}

class Card {
  constructor(video, gallery) {
    this.video = video;
    this.gallery = gallery;
    this.element = document.querySelector("#card").content.firstElementChild.cloneNode(true);
    this.element.dataset.id = video.id;
    this.part = (selector) => this.element.querySelector(selector);
    this.stop = new AbortController();
    const actions = { cancel: this.cancel, seed: this.useSeed, source: this.edit, save: this.save, delete: this.remove };
    for (const [name, action] of Object.entries(actions)) {
      this.button(name).addEventListener("click", () => this.guarded(() => action.call(this)));
    }
    this.show();
    if (ENDED.has(video.status)) this.finish();
    else this.follow();
  }

  button(name) { return this.part(`[data-do="${name}"]`); }

  async guarded(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.part(".state").textContent = error.message;
    }
  }

  show() {
    const { video } = this;
    const ended = ENDED.has(video.status);
    const completed = video.status === "completed";
    this.element.classList.toggle("ended", ended);
    this.element.classList.toggle("made", completed);
    const badge = this.part(".badge");
    badge.textContent = WORDS[video.status];
    badge.className = `badge ${video.status}`;
    this.part(".task").textContent = `${video.task.replaceAll("-", " ")} · ${video.size.replace("x", " × ")}`;
    this.part(".prompt").textContent = video.prompt;
    this.part(".screen").style.aspectRatio = completed ? video.size.replace("x", " / ") : "";
    this.part(".screen").hidden = ended && !completed;
    const bar = this.part("progress");
    bar.hidden = ended;
    bar.value = video.progress;
    bar.setAttribute("aria-label", `Progress of ${video.prompt}`);
    this.part(".state").textContent = this.state();
    this.button("cancel").hidden = ended;
    this.button("source").hidden = this.button("save").hidden = !completed;
    this.button("delete").hidden = !ended;
    for (const button of this.element.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent}: ${video.prompt}`);
    }
  }

  state() {
    const { video } = this;
    const left = video.eta_seconds != null ? `about ${duration(video.eta_seconds)} left` : "";
    if (video.cancel_requested && !ENDED.has(video.status)) return "Is being cancelled";
    switch (video.status) {
      case "queued":
        return [video.queue_position ? `${video.queue_position} ahead` : "Next in the queue", left].filter(Boolean).join(", ");
      case "in_progress":
        return [video.stage, video.steps && video.step ? `step ${video.step} of ${video.steps}` : "", left].filter(Boolean).join(", ");
      case "completed":
        return `${video.seconds} s, made in ${duration(video.usage.run_seconds)} · seed ${video.seed}`;
      default:
        return video.error?.message ?? "";
    }
  }

  async follow() {
    const refresh = setInterval(() => this.refreshPlace(), 4000);
    for await (const { name, data } of events(`/v1/videos/${this.video.id}/events`, this.stop.signal)) {
      if (name === "preview") {
        this.still(data.image);
        continue;
      }
      const { status, stage, step, steps, progress, eta_seconds } = data;
      const news = status !== this.video.status;
      Object.assign(this.video, { status, stage, step, steps, progress, eta_seconds });
      if (ENDED.has(status)) this.video = await getJson(`/v1/videos/${this.video.id}`);
      this.show();
      if (news) this.gallery.announce(`${WORDS[status]}: ${this.video.prompt}`);
    }
    clearInterval(refresh);
    if (ENDED.has(this.video.status)) this.finish();
  }

  /** Others' jobs move this one on without an event of its own. */
  async refreshPlace() {
    if (this.video.status !== "queued" || document.hidden) return;
    const fresh = await getJson(`/v1/videos/${this.video.id}`).catch(() => null);
    if (fresh?.status === "queued") {
      this.video = fresh;
      this.show();
    }
  }

  still(url) {
    const image = this.part(".still");
    image.onload = () => { image.hidden = false; };
    image.src = url;
  }

  /** The finished video plays when it is seen; until then its thumbnail stands there. */
  async finish() {
    if (this.video.status !== "completed") return;
    sourceOf(this.video.id, "thumbnail").then((url) => this.still(url), () => {});
    const player = this.part("video");
    player.setAttribute("aria-label", this.video.prompt);
    const seen = new IntersectionObserver(async ([entry]) => {
      if (!entry.isIntersecting) return player.pause();
      if (!player.src) {
        const url = await sourceOf(this.video.id).catch(() => "");
        if (!url) return seen.disconnect();
        player.src = url;
        player.hidden = false;
      }
      if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.play().catch(() => {});
    }, { threshold: 0.4 });
    seen.observe(this.part(".screen"));
  }

  async cancel() {
    this.video = await (await ask(`/v1/videos/${this.video.id}/cancel`, { method: "POST" })).json();
    this.show();
  }

  useSeed() { this.gallery.form.useSeed(this.video); }

  async edit() {
    const content = await getBlob(`/v1/videos/${this.video.id}/content`);
    await this.gallery.form.useVideo(content, `${this.video.id}.mp4`);
  }

  async save() {
    const link = document.createElement("a");
    link.href = await sourceOf(this.video.id);
    link.download = `${this.video.id}.mp4`;
    link.click();
  }

  async remove() {
    for (let tries = 0; ; tries += 1) {
      try {
        await ask(`/v1/videos/${this.video.id}`, { method: "DELETE" });
        break;
      } catch (error) {
        if (error.status !== 409 || tries > RETRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
    this.stop.abort();
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
    this.element.remove();
    this.gallery.count();
    (next?.querySelector("button:not([hidden])") ?? document.querySelector("#gallery")).focus();
    this.gallery.announce("Deleted");
  }
}

/** 9.6 is "10 s", 75.2 is "1:15". */
function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
