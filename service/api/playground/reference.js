// Reads the service's own OpenAPI document and shows it; nothing is loaded from anywhere else.

const METHODS = ["get", "post", "put", "patch", "delete"];
const LONGEST_PATTERN = 60;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Text with `code` in it.
function prose(text) {
  const parts = (text ?? "").split("`");
  return element("span", {}, ...parts.map((part, place) => (place % 2 ? element("code", {}, part) : part)));
}

function resolve(whole, part) {
  if (!part?.$ref) return part ?? {};
  return part.$ref.slice(2).split("/").reduce((node, name) => node[name], whole);
}

function typeOf(whole, part) {
  const name = part?.$ref?.split("/").at(-1);
  const schema = resolve(whole, part);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const either = schema.anyOf ?? schema.oneOf;
  if (either && !schema.properties) return [...new Set(either.map((one) => typeOf(whole, one)))].join(" | ");
  if (schema.type === "array") return `list of ${typeOf(whole, schema.items)}`;
  return name ?? schema.type ?? "any";
}

function limitsOf(whole, part) {
  const schemas = [resolve(whole, part), ...(resolve(whole, part).anyOf ?? []).map((one) => resolve(whole, one))];
  const limits = [];
  for (const schema of schemas) {
    if ("minimum" in schema && "maximum" in schema) limits.push(`${schema.minimum} to ${schema.maximum}`);
    if ("maxLength" in schema) limits.push(`${schema.maxLength} characters at most`);
    if (schema.pattern && schema.pattern.length <= LONGEST_PATTERN) limits.push(schema.pattern);
  }
  const fallback = resolve(whole, part).default;
  if (fallback !== undefined && fallback !== null) limits.push(`default ${JSON.stringify(fallback)}`);
  return limits.join("; ");
}

function row(whole, name, schema, description, required) {
  return element(
    "tr", {},
    element("td", {}, element("code", {}, name), required ? " required" : ""),
    element("td", {}, typeOf(whole, schema), element("br"), element("small", {}, limitsOf(whole, schema))),
    element("td", {}, prose(description ?? resolve(whole, schema).description)),
  );
}

function table(rows) {
  const head = ["Name", "Type", "Meaning"].map((title) => element("th", { scope: "col" }, title));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

function fields(whole, part) {
  const schema = resolve(whole, part);
  if (!schema.properties) return (schema.anyOf ?? []).flatMap((one) => {
    const variant = resolve(whole, one);
    return variant.properties ? [element("h4", {}, variant.title ?? ""), ...fields(whole, one)] : [];
  });
  const required = new Set(schema.required);
  const rows = Object.entries(schema.properties).map(([name, one]) => row(whole, name, one, one.description, required.has(name)));
  return [table(rows)];
}

function shown(whole, method, path, operation) {
  const summary = element(
    "summary", {},
    element("code", { className: "method" }, method.toUpperCase()), element("code", {}, path), ` ${operation.summary ?? ""}`,
  );
  const parts = [summary, element("p", {}, prose(operation.description))];
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    parts.push(element("h3", {}, "Parameters"));
    parts.push(table(parameters.map((one) => row(whole, one.name, one.schema, one.description, one.required))));
  }
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  if (bodies.length) {
    const [, body] = bodies[0];
    parts.push(element("h3", {}, `Body: ${bodies.map(([type]) => type).join(" or ")}`), ...fields(whole, body.schema));
    const example = resolve(whole, body.schema).examples?.[0];
    if (example) parts.push(element("pre", {}, JSON.stringify(example, null, 2)));
  }
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const types = Object.entries(answer.content ?? {}).map(([type, one]) => `${type} ${typeOf(whole, one.schema)}`);
    return element(
      "tr", {}, element("td", {}, element("code", {}, status)), element("td", {}, types.join(", ")), element("td", {}, prose(answer.description)),
    );
  });
  parts.push(element("h3", {}, "Answers"), table(answers));
  return element("details", { id: operation.operationId }, ...parts);
}

function byTag(whole) {
  const tags = new Map();
  for (const [path, methods] of Object.entries(whole.paths)) {
    for (const method of METHODS.filter((one) => one in methods)) {
      const tag = methods[method].tags?.[0] ?? "other";
      tags.set(tag, [...(tags.get(tag) ?? []), shown(whole, method, path, methods[method])]);
    }
  }
  return tags;
}

const page = document.getElementById("reference");
try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`/openapi.json answered ${answer.status}`);
  const whole = await answer.json();
  page.append(...whole.info.description.split("\n\n").map((text) => element("p", {}, prose(text))));
  for (const [tag, operations] of byTag(whole)) page.append(element("h2", { id: tag }, tag), ...operations);
  const schemas = Object.entries(whole.components.schemas).map(([name, schema]) => element(
    "details", { id: `schema-${name}` },
    element("summary", {}, element("code", {}, name)), element("p", {}, prose(schema.description)), ...fields(whole, schema),
  ));
  page.append(element("h2", { id: "schemas" }, "objects"), ...schemas);
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  if (wanted) { wanted.open = true; wanted.scrollIntoView(); }
} catch (error) {
  page.append(element("p", { role: "alert" }, `The reference cannot be shown: ${error.message}`));
}
page.setAttribute("aria-busy", "false");
document.body.dataset.ready = "true";
