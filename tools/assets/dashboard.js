// What a page does by itself: keeps up to date, opens the dialog, draws the flow. All else is the server's.
import htmx from "htmx.org";
import { sankey, sankeyJustify, sankeyLinkHorizontal } from "d3-sankey";

const SVG = "http://www.w3.org/2000/svg";
const UNSEEN_MS = 60_000;
const AGAIN_MS = 5_000;
const APART_MS = 500;

// Live -----------------------------------------------------------------------------------------------------------

let source = null;
let known = null;

function connect() {
  const { live, number, signedOut } = document.body.dataset;
  if (!live || source) return;
  known ??= number;
  source = new EventSource(`${live}?since=${known}`);
  source.addEventListener("open", () => told(true));
  source.addEventListener("error", () => {
    told(false);
    // A browser gives up for good when the answer is an error. The page may know why: it goes to the door then.
    if (source?.readyState === EventSource.CLOSED) {
      disconnect();
      announce("record");
      setTimeout(connect, AGAIN_MS);
    }
  });
  source.addEventListener("record", (event) => {
    known = event.lastEventId;
    announce("record");
  });
  source.addEventListener("request", () => announce("request"));
  source.addEventListener("weight", () => announce("weight"));
  source.addEventListener("bye", () => location.assign(signedOut));
}

// Parts of the page listen on the body. They are told at once, then not more often than they should ask, and always of
// the last event: not while one of them asks, for the answer may be older, and takes the place of who would ask again.
const waiting = new Map();

function announce(name) {
  if (waiting.has(name)) {
    waiting.set(name, true);
    return;
  }
  const asking = document.querySelector("[hx-trigger*='from:body'].htmx-request") !== null;
  if (!asking) htmx.trigger(document.body, name);
  waiting.set(name, asking);
  setTimeout(() => {
    const again = waiting.get(name);
    waiting.delete(name);
    if (again) announce(name);
  }, APART_MS);
}

function disconnect() {
  source?.close();
  source = null;
}

function told(on) {
  const sign = document.getElementById("live");
  if (!sign) return;
  const state = on ? "on" : "off";
  if (sign.dataset.state === state) return;
  sign.dataset.state = state;
  sign.textContent = sign.dataset[state];
}

// A browser has six connections to a host, whatever the number of tabs: those nobody sees give theirs back.
let hiding = null;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(disconnect, UNSEEN_MS);
  else connect();
});
window.addEventListener("pagehide", disconnect);
window.addEventListener("pageshow", connect);

// The dialog -----------------------------------------------------------------------------------------------------

const dialog = document.getElementById("dialog");

document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "dialog-part" && !dialog.open) dialog.showModal();
});
document.body.addEventListener("click", (event) => {
  if (dialog.open && event.target.closest("[data-close]")) {
    event.preventDefault();
    dialog.close();
  }
});
dialog.addEventListener("close", () => announce("record"));
// Nobody knows what became of a press without an answer; pressed again, it says.
document.body.addEventListener("htmx:sendError", (event) => {
  told(false);
  if (!dialog.open || event.detail.target.id !== "dialog-part") return;
  const sentence = document.getElementById("unanswered") ?? document.createElement("p");
  Object.assign(sentence, { id: "unanswered", className: "refused", role: "alert", textContent: dialog.dataset.unanswered });
  document.getElementById("dialog-part").prepend(sentence);
});

// What changed is marked for a moment ----------------------------------------------------------------------------

const values = (root) =>
  new Map([...root.querySelectorAll("tr[data-asset] td[data-place]")].map((cell) => [
    `${cell.parentElement.dataset.asset} ${cell.dataset.place}`, cell,
  ]));

// A button that is replaced between press and release is not pressed.
let pressed = false;
window.addEventListener("pointerdown", () => (pressed = true), true);
for (const over of ["pointerup", "pointercancel"]) window.addEventListener(over, () => setTimeout(() => (pressed = false)), true);

let before = null;
document.body.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr } = event.detail;
  if (target.id === "dialog-part") return;
  if (pressed) {
    event.detail.shouldSwap = false;
    ["record", "request"].forEach(announce);
  }
  // What cannot be read just now keeps the numbers there are; the next event, or the next half minute, tries again.
  event.detail.shouldSwap &&= xhr.status < 400;
  told(xhr.status < 400 && source?.readyState === EventSource.OPEN);
  if (target.id !== "wallets" || !event.detail.shouldSwap) return;
  before = new Map([...values(document)].map(([name, cell]) => [name, cell.querySelector("data")?.value]));
});
document.body.addEventListener("htmx:afterSettle", () => {
  if (!before) return;
  for (const [name, cell] of values(document))
    if (before.has(name) && before.get(name) !== cell.querySelector("data")?.value) cell.classList.add("changed");
  before = null;
});

// The flow -------------------------------------------------------------------------------------------------------

function drawn(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function graphOf(box, items) {
  const nodes = new Map();
  const links = new Map();
  const node = (id, label, kind) => nodes.get(id) ?? nodes.set(id, { id, label, kind }).get(id);
  const link = (from, to, kind, width) => {
    const key = `${from.id}>${to.id}`;
    const found = links.get(key) ?? { source: from.id, target: to.id, kind, value: 0 };
    found.value += width;
    links.set(key, found);
  };
  for (const { asset, from, moves, width } of items.map((item) => item.dataset)) {
    const kind = moves === "yes" ? "goes" : "stays";
    const wallet = node(`from ${from}`, from, "wallet");
    const middle = node(`asset ${asset}`, asset, "asset");
    const end = node(kind, kind === "goes" ? box.dataset.margin : box.dataset.stays, kind);
    link(wallet, middle, kind, Number(width));
    link(middle, end, kind, Number(width));
  }
  return { nodes: [...nodes.values()], links: [...links.values()] };
}

function draw() {
  const box = document.getElementById("sankey");
  if (!box || !box.clientWidth) return;
  const items = [...document.querySelectorAll("#flows li:not([data-negative])")];
  const graph = graphOf(box, items);
  if (!graph.links.length) return box.replaceChildren();
  const width = box.clientWidth;
  const assets = graph.nodes.filter((node) => node.kind === "asset").length;
  const height = Math.max(90, 34 * assets + 40);
  sankey().nodeId((node) => node.id).nodeAlign(sankeyJustify).nodeSort(null).linkSort(null)
    .nodeWidth(8).nodePadding(14).extent([[1, 10], [width - 1, height - 10]])(graph);
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
  const path = sankeyLinkHorizontal();
  for (const link of graph.links)
    picture.append(drawn("path", { d: path(link), class: link.kind, "stroke-width": Math.max(2, link.width) }));
  for (const node of graph.nodes) {
    const { x0, x1, y0, y1, label, kind } = node;
    picture.append(drawn("rect", { x: x0, y: y0, width: x1 - x0, height: Math.max(2, y1 - y0), class: kind }));
    const last = x1 > width - 20;
    picture.append(drawn("text", {
      x: last ? x0 - 6 : x1 + 6, y: (y0 + y1) / 2, dy: "0.35em", "text-anchor": last ? "end" : "start",
    }, label));
  }
  box.replaceChildren(picture);
}

// At once, before the page is shown for the first time; then for every part that comes.
draw();
htmx.onLoad((part) => part === document.body || draw());
let resizing = null;
window.addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(draw, 100);
});
