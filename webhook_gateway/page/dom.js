// The only way this page makes elements: text is always text, whatever it says.

/** @param {string} id */
export const byId = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * Make an element.
 * @param {string} name
 * @param {Record<string, unknown>} attributes false and null leave one out
 * @param {...(Node|string|number)} children
 */
export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Make an SVG element, the same way. */
export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

/** Set an element's text, only when it differs: unchanged elements cost no layout. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make a table from a head and rows of texts; the first column heads its row. */
export function table(caption, head, rows) {
  return make("table", {},
    make("caption", { class: "hidden" }, caption),
    make("thead", {}, make("tr", {}, ...head.map((each) => make("th", { scope: "col" }, each)))),
    make("tbody", {}, ...rows.map(([first, ...rest]) =>
      make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((each) => make("td", {}, each))))));
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.map((each) => (each instanceof Node ? each : String(each))));
  return element;
}
