// A mask painted over a picture: with mouse, pen, finger or keyboard.

const LONGEST = 1024;
const UNDO_STEPS = 30;
const INK = [233, 30, 99];

/** `painter.show(source)` begins on a picture; `painter.mask()` is a PNG, white where it was painted, or null. */
export class Painter {
  constructor(root, onChange) {
    this.canvas = root.querySelector("#paint");
    this.brush = root.querySelector("#brush");
    this.eraser = root.querySelector("#erase");
    this.onChange = onChange;
    this.layer = document.createElement("canvas"); // opaque where the mask is
    this.past = [];
    this.picture = null;
    this.cursor = null;
    const on = (id, action) => root.querySelector(id).addEventListener("click", action);
    on("#erase", () => this.toggleEraser());
    on("#undo", () => this.undo());
    on("#save-mask", () => this.save());
    on("#clear", () => this.change(() => this.ink.clearRect(0, 0, this.layer.width, this.layer.height)));
    on("#invert", () => this.change(() => this.invert()));
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.follow(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => this.end());
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => { this.cursor = null; this.draw(); });
  }

  get ink() { return this.layer.getContext("2d", { willReadFrequently: true }); }
  get radius() { return (Number(this.brush.value) / 200) * Math.max(this.canvas.width, this.canvas.height); }

  /** `source`: an image or a video whose first frame is there. */
  show(source) {
    const width = source.videoWidth || source.naturalWidth;
    const height = source.videoHeight || source.naturalHeight;
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    for (const canvas of [this.canvas, this.layer]) {
      canvas.width = Math.max(1, Math.round(width * scale));
      canvas.height = Math.max(1, Math.round(height * scale));
    }
    this.picture = document.createElement("canvas");
    this.picture.width = this.canvas.width;
    this.picture.height = this.canvas.height;
    this.picture.getContext("2d").drawImage(source, 0, 0, this.canvas.width, this.canvas.height);
    this.past = [];
    this.draw();
  }

  hide() { this.picture = null; this.past = []; }

  isEmpty() {
    if (!this.picture) return true;
    const { data } = this.ink.getImageData(0, 0, this.layer.width, this.layer.height);
    for (let i = 3; i < data.length; i += 4) if (data[i] > 127) return false;
    return true;
  }

  async save() {
    const mask = await this.mask();
    if (!mask) return;
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(mask), download: "mask.png" });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async mask() {
    if (this.isEmpty()) return null;
    const sheet = document.createElement("canvas");
    sheet.width = this.layer.width;
    sheet.height = this.layer.height;
    const context = sheet.getContext("2d");
    const image = this.ink.getImageData(0, 0, sheet.width, sheet.height);
    for (let i = 0; i < image.data.length; i += 4) {
      const value = image.data[i + 3] > 127 ? 255 : 0;
      image.data.set([value, value, value, 255], i);
    }
    context.putImageData(image, 0, 0);
    return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
  }

  draw() {
    if (!this.picture) return;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.picture, 0, 0);
    context.globalAlpha = 0.55;
    context.drawImage(this.layer, 0, 0);
    context.globalAlpha = 1;
    if (this.cursor) {
      for (const [color, width] of [["#000", 4], ["#fff", 2]]) {
        context.beginPath();
        context.arc(this.cursor.x, this.cursor.y, this.radius, 0, 2 * Math.PI);
        context.strokeStyle = color;
        context.lineWidth = width;
        context.stroke();
      }
    }
  }

  change(action) {
    this.past.push(this.ink.getImageData(0, 0, this.layer.width, this.layer.height));
    if (this.past.length > UNDO_STEPS) this.past.shift();
    action();
    this.draw();
    this.onChange();
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.ink.putImageData(before, 0, 0);
    this.draw();
    this.onChange();
  }

  invert() {
    const image = this.ink.getImageData(0, 0, this.layer.width, this.layer.height);
    for (let i = 0; i < image.data.length; i += 4) image.data.set([...INK, 255 - image.data[i + 3]], i);
    this.ink.putImageData(image, 0, 0);
  }

  stroke(from, to) {
    const ink = this.ink;
    ink.globalCompositeOperation = this.eraser.getAttribute("aria-pressed") === "true" ? "destination-out" : "source-over";
    ink.strokeStyle = `rgb(${INK})`;
    ink.lineCap = ink.lineJoin = "round";
    ink.lineWidth = 2 * this.radius;
    ink.beginPath();
    ink.moveTo(from.x, from.y);
    ink.lineTo(to.x + 0.01, to.y);
    ink.stroke();
    ink.globalCompositeOperation = "source-over";
  }

  /** From the page to the picture, which `object-fit: contain` may have left margins around. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = Math.min(box.width / this.canvas.width, box.height / this.canvas.height);
    return {
      x: (event.clientX - box.left - (box.width - this.canvas.width * scale) / 2) / scale,
      y: (event.clientY - box.top - (box.height - this.canvas.height * scale) / 2) / scale,
    };
  }

  begin(event) {
    if (!this.picture || event.button) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.place(event);
    this.change(() => this.stroke(this.last, this.last));
  }

  follow(event) {
    if (!this.last) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const step of passed.length ? passed : [event]) {
      const place = this.place(step);
      this.stroke(this.last, place);
      this.last = place;
    }
    this.draw();
  }

  end() {
    if (this.last) this.onChange();
    this.last = null;
  }

  toggleEraser() {
    this.eraser.setAttribute("aria-pressed", String(this.eraser.getAttribute("aria-pressed") !== "true"));
  }

  key(event) {
    if (!this.picture || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = Math.max(this.canvas.width, this.canvas.height) / (event.shiftKey ? 8 : 32);
    this.cursor ??= { x: this.canvas.width / 2, y: this.canvas.height / 2 };
    const from = { ...this.cursor };
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      const [x, y] = moves[event.key];
      this.cursor.x = Math.min(Math.max(from.x + x, 0), this.canvas.width);
      this.cursor.y = Math.min(Math.max(from.y + y, 0), this.canvas.height);
      this.draw();
    } else if (event.key === " " || event.key === "Enter") this.change(() => this.stroke(this.cursor, this.cursor));
    else if (event.key === "e" || event.key === "E") this.toggleEraser();
    else if (event.key === "z" || event.key === "Z") this.undo();
    else if (event.key === "+" || event.key === "-") { this.brush.stepUp(event.key === "+" ? 2 : -2); this.draw(); }
    else return;
    event.preventDefault();
  }
}
