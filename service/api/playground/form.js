// The form on the left: which fields a task has, what is sent, and the same as a curl command.

import { ask, getJson } from "./api.js";
import { Painter } from "./painter.js";

const HINTS = {
  "text-to-video": "A prompt becomes a video.",
  "image-to-video": "The picture is the first frame; the prompt says what happens.",
  inpaint: "Paint over a part of a video: it is made anew by the prompt, the rest stays as it is.",
  cinemagraph: "Paint over a part of a picture: it moves, the rest stands still.",
  stylize: "A video in another style, its motion kept; or a prompt in a style: the model's, or one learned from a picture.",
};
const NUMBERS = ["num_frames", "fps", "num_inference_steps", "guidance_scale", "seed"];
const LONGEST_WAIT_MS = 3000;
const FAILED = new Set(["failed", "cancelled"]);
const NEEDS_MASK = new Set(["inpaint", "cinemagraph"]);

export class Form {
  /** `onMade(video)` is called with each job that was accepted. */
  constructor(root, onMade) {
    this.root = root;
    this.onMade = onMade;
    this.files = { image: null, video: null };
    this.models = [];
    this.learned = [];
    this.painter = new Painter(root.querySelector("#painter"), () => this.showCurl());
    for (const name of ["image", "video"]) this.takeFiles(name);
    for (const radio of root.elements.task) {
      radio.addEventListener("change", () => {
        this.showTask();
        if (this.task === "stylize") this.loadStyles();
      });
    }
    root.elements.model.addEventListener("change", () => this.showModel());
    root.addEventListener("input", () => this.showCurl());
    root.elements.strength.addEventListener("input", () => { root.elements["strength-shown"].value = root.elements.strength.value; });
    root.addEventListener("submit", (event) => { event.preventDefault(); this.submit(); });
    root.querySelector("#copy").addEventListener("click", (event) => this.copy(event.currentTarget));
    root.querySelector("textarea").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) root.requestSubmit();
    });
    this.showTask();
  }

  get task() { return this.root.elements.task.value; }
  get model() { return this.models.find((model) => model.id === this.root.elements.model.value) ?? this.models[0]; }

  useModels(models) {
    this.models = models;
    this.root.elements.model.replaceChildren(...models.map((model) => new Option(model.id, model.id)));
    this.root.querySelector("#model-field").hidden = models.length < 2;
    for (const radio of this.root.elements.task) {
      radio.disabled = !models.some((model) => model.tasks.includes(radio.value));
      radio.title = radio.disabled ? "No model of this service does this" : "";
    }
    if (!this.model?.tasks.includes(this.task)) {
      const able = [...this.root.elements.task].find((radio) => !radio.disabled);
      if (able) able.checked = true;
    }
    this.showModel();
    this.showTask();
  }

  /** Limits and defaults of the chosen model. */
  showModel() {
    const { limits, defaults } = this.model;
    for (const name of NUMBERS.slice(0, 4)) {
      const field = this.root.elements[name];
      [field.min, field.max] = limits[name];
      field.placeholder = defaults[name];
    }
    const sizes = limits.sizes.map((size) => new Option(size, size, size === defaults.size, size === defaults.size));
    this.root.elements.size.replaceChildren(...sizes);
    this.showStyles();
  }

  /** Styles that were learned from a picture, as they are now. */
  async loadStyles() {
    try {
      this.learned = (await getJson("/v1/styles")).data;
    } catch (error) {
      return this.complain(error.message);
    }
    this.showStyles();
  }

  /** Styles that the chosen model is shipped with and those it has learned; the chosen one stays chosen. */
  showStyles() {
    const select = this.root.elements.style;
    const chosen = select.value;
    const shipped = (this.model.styles ?? []).map((style) => new Option(style, style));
    const learned = this.learned.filter((style) => style.model === this.model.id && !FAILED.has(style.status));
    select.replaceChildren(
      new Option("none: the prompt alone", ""),
      ...grouped("Of the model", shipped),
      ...grouped("Learned from a picture", learned.map(styleOption)),
    );
    if ([...select.options].some((option) => option.value === chosen && !option.disabled)) select.value = chosen;
    this.showCurl();
  }

  showTask() {
    for (const part of this.root.querySelectorAll("[data-tasks]")) {
      part.hidden = !part.dataset.tasks.split(" ").includes(this.task);
    }
    this.root.querySelector("#task-hint").textContent = HINTS[this.task];
    this.root.querySelector("#video-label").textContent = this.task === "stylize" ? "Video (optional)" : "Video";
    this.complain("");
    this.showPainter();
    this.showCurl();
  }

  source() { return { inpaint: "video", cinemagraph: "image" }[this.task]; }

  showPainter() {
    const panel = this.root.querySelector("#painter");
    const name = this.source();
    panel.hidden = !name || !this.files[name];
    if (panel.hidden || name !== this.painted) this.painter.hide();
    if (panel.hidden) return;
    this.painted = name;
    const shown = this.root.querySelector(`#${name}-shown`);
    if (!this.painter.picture) this.painter.show(shown);
  }

  takeFiles(name) {
    const input = this.root.querySelector(`#${name}`);
    const zone = this.root.querySelector(`#${name}-drop`);
    input.addEventListener("change", () => { if (input.files[0]) this.useFile(name, input.files[0]); });
    for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, () => zone.classList.add("over"));
    for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  }

  /** Shows the file and keeps it; one that the browser cannot read is refused in words. */
  async useFile(name, file) {
    const shown = this.root.querySelector(`#${name}-shown`);
    const url = URL.createObjectURL(file);
    if (shown.src) URL.revokeObjectURL(shown.src);
    try {
      await new Promise((resolve, reject) => {
        shown.addEventListener(name === "image" ? "load" : "loadeddata", resolve, { once: true });
        shown.addEventListener("error", () => reject(new Error()), { once: true });
        shown.src = url;
      });
    } catch {
      shown.hidden = true;
      return this.complain(`This browser cannot read ${file.name}.`, this.root.querySelector(`#${name}`));
    }
    this.files[name] = file;
    shown.hidden = false;
    if (name === "video") await firstFrame(shown);
    this.root.querySelector(`#${name}-drop span`).textContent = file.name;
    this.complain("");
    this.painter.hide();
    this.showPainter();
    this.showCurl();
  }

  /** The fields of the request, without files. */
  fields() {
    const { elements } = this.root;
    const fields = { prompt: elements.prompt.value.trim() };
    if (elements.negative_prompt.value.trim()) fields.negative_prompt = elements.negative_prompt.value.trim();
    for (const name of NUMBERS) if (elements[name].value !== "") fields[name] = Number(elements[name].value);
    if (this.model && elements.size.value !== this.model.defaults.size) fields.size = elements.size.value;
    if (this.models.length > 1) fields.model = elements.model.value;
    if (this.task === "cinemagraph" && elements.loop.checked) fields.loop = true;
    if (this.task === "stylize") {
      if (elements.style.value) fields.style = elements.style.value;
      if (this.files.video) fields.strength = Number(elements.strength.value);
    }
    return fields;
  }

  /** The files of the request by field. */
  attached() {
    const names = { "image-to-video": "image", cinemagraph: "image", inpaint: "video", stylize: "video" };
    const name = names[this.task];
    return name && this.files[name] ? { [name]: this.files[name] } : {};
  }

  /** What is missing, or nothing. */
  lacks() {
    const { prompt } = this.root.elements;
    if (!prompt.value.trim()) return ["Say in the prompt what the video shows.", prompt];
    const image = this.root.querySelector("#image");
    const video = this.root.querySelector("#video");
    if (["image-to-video", "cinemagraph"].includes(this.task) && !this.files.image) return ["Choose a picture.", image];
    if (this.task === "inpaint" && !this.files.video) return ["Choose a video.", video];
    if (this.task === "stylize" && !this.files.video && !this.root.elements.style.value) {
      return ["Choose a video or a style.", video];
    }
    if (NEEDS_MASK.has(this.task) && this.painter.isEmpty()) {
      return ["Paint over a part of the picture.", this.root.querySelector("#paint")];
    }
    return null;
  }

  async submit() {
    const lack = this.lacks();
    if (lack) return this.complain(...lack);
    const button = this.root.querySelector("#submit");
    button.disabled = true;
    this.complain("");
    try {
      this.onMade(await (await ask(`/v1/${this.task}`, await this.request())).json());
    } catch (error) {
      this.complain(error.message, error.param && this.root.elements[error.param]);
    } finally {
      button.disabled = false;
    }
  }

  async request() {
    const method = "POST";
    const fields = this.fields();
    // A request that is sent again, because its answer was lost, makes no second video.
    const headers = { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) };
    if (this.task === "text-to-video") {
      return { method, body: JSON.stringify(fields), headers: { ...headers, "content-type": "application/json" } };
    }
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    for (const [name, file] of Object.entries(this.attached())) body.append(name, file);
    if (NEEDS_MASK.has(this.task)) body.append("mask", await this.painter.mask(), "mask.png");
    return { method, body, headers };
  }

  complain(text, field) {
    const problem = this.root.querySelector("#problem");
    problem.textContent = text;
    problem.hidden = !text;
    if (text && field?.focus) {
      field.closest("details")?.setAttribute("open", "");
      field.focus();
    }
  }

  usePrompt(text) {
    this.root.elements.prompt.value = text;
    this.showCurl();
    this.root.elements.prompt.focus();
  }

  useSeed(video) {
    this.root.elements.seed.value = video.seed;
    this.root.querySelector("details").open = true;
    this.usePrompt(video.prompt);
  }

  async useVideo(blob, name) {
    const radio = [...this.root.elements.task].find((task) => task.value === "inpaint" && !task.disabled)
      ?? [...this.root.elements.task].find((task) => task.value === "stylize" && !task.disabled);
    if (!radio) return this.complain("No model of this service edits videos.");
    radio.checked = true;
    this.showTask();
    await this.useFile("video", new File([blob], name, { type: "video/mp4" }));
    this.root.scrollIntoView({ block: "start" });
  }

  showCurl() {
    this.root.querySelector("#curl code").textContent = this.curl();
  }

  curl() {
    const fields = this.fields();
    const lines = [`curl ${location.origin}/v1/${this.task}`];
    if (sessionStorage.getItem("lumiere-key")) lines.push(`-H "Authorization: Bearer $LUMIERE_API_KEY"`);
    if (this.task === "text-to-video") {
      lines.push(`-H 'content-type: application/json'`, `-d ${quoted(JSON.stringify(fields))}`);
    } else {
      for (const [name, value] of Object.entries(fields)) lines.push(`--form-string ${quoted(`${name}=${value}`)}`);
      for (const [name, file] of Object.entries(this.attached())) lines.push(`-F ${quoted(`${name}=@"${file.name}"`)}`);
      if (NEEDS_MASK.has(this.task)) lines.push("-F mask=@mask.png");
    }
    return lines.join(" \\\n  ");
  }

  async copy(button) {
    await navigator.clipboard?.writeText(this.curl());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
}

function grouped(label, options) {
  if (!options.length) return [];
  const group = Object.assign(document.createElement("optgroup"), { label });
  group.append(...options);
  return [group];
}

/** A style from a picture; it cannot be chosen before it is learned. */
function styleOption({ name, status, progress }) {
  const ready = status === "completed";
  const option = new Option(ready ? name : `${name} (learned to ${progress} %)`, name);
  option.disabled = !ready;
  return option;
}

/** Returns when a frame of the video can be drawn; some browsers decode none before it is seen. */
async function firstFrame(video) {
  const drawn = new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else video.addEventListener("timeupdate", resolve, { once: true });
  });
  video.play().catch(() => {});
  await Promise.race([drawn, new Promise((resolve) => setTimeout(resolve, LONGEST_WAIT_MS))]);
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
