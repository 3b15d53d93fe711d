// The page: a form that asks for videos and a gallery that shows them, both over the public API.

import { getJson } from "./api.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";

const THEMES = { auto: "as the system has them", light: "light", dark: "dark" };

function announce(text) {
  document.querySelector("#announce").textContent = text;
}

function useTheme(name) {
  const button = document.querySelector("#theme");
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  button.textContent = `◐ ${name[0].toUpperCase()}${name.slice(1)}`;
  button.setAttribute("aria-label", `Colours: ${THEMES[name]}`);
  localStorage.setItem("lumiere-theme", name);
}

async function showHealth() {
  const shown = document.querySelector("#health");
  const answer = await fetch("/readyz").catch(() => null);
  const problem = answer && !answer.ok ? await answer.json().catch(() => null) : null;
  const text = !answer ? "no answer" : answer.ok ? "ready" : "not ready";
  if (shown.textContent !== text) shown.textContent = text;
  shown.title = problem?.detail ?? "";
  shown.className = `health ${answer?.ok ? "good" : "bad"}`;
}

const names = Object.keys(THEMES);
const chosen = localStorage.getItem("lumiere-theme");
useTheme(names.includes(chosen) ? chosen : "auto");
document.querySelector("#theme").addEventListener("click", () => {
  const now = localStorage.getItem("lumiere-theme");
  useTheme(names[(names.indexOf(now) + 1) % names.length]);
});

let gallery;
const form = new Form(document.querySelector("#make"), (video) => gallery.add(video));
gallery = new Gallery(document.querySelector("#gallery"), form, announce);
for (const button of document.querySelectorAll("[data-prompt]")) {
  button.addEventListener("click", () => form.usePrompt(button.textContent));
}
showHealth();
setInterval(showHealth, 10_000);
try {
  form.useModels((await getJson("/v1/models")).data);
  await gallery.load();
  document.body.dataset.ready = "";
} catch (error) {
  form.complain(error.message);
}
