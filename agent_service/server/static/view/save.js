// A drawn picture as a file: SVG with the style that it is shown in, or PNG at twice the size.

const SHOWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-opacity", "opacity", "shape-rendering", "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline"];
const TIMES = 2;

const ROOM = 24; // for a line of labels

/** The picture as text: a copy that needs no style sheet, on the ground that it is shown on; with `labels` around it. */
export function svgText(picture, labels) {
  const copy = picture.cloneNode(true);
  const [shown, copied] = [picture.querySelectorAll("*"), copy.querySelectorAll("*")];
  shown.forEach((element, i) => {
    const style = getComputedStyle(element);
    SHOWN.forEach((name) => copied[i].setAttribute(name, style.getPropertyValue(name))); // a `style` the page's policy forbids
    copied[i].removeAttribute("class");
  });
  const { width, height } = picture.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const high = height + 2 * ROOM;
  const style = getComputedStyle(picture);
  copy.setAttribute("width", width);
  copy.setAttribute("height", high);
  copy.setAttribute("viewBox", `0 ${-ROOM} ${width} ${high}`);
  for (const [x, y, anchor, label] of [[12, -8, "start", labels.left], [width - 12, -8, "end", labels.right], [width / 2, height + ROOM - 8, "middle", labels.below]]) {
    const text = copy.ownerDocument.createElementNS("http://www.w3.org/2000/svg", "text");
    text.textContent = label;
    Object.entries({ x, y, "text-anchor": anchor, fill: style.color, "font-size": "12px", "font-family": style.fontFamily }).forEach(([name, value]) => text.setAttribute(name, value));
    copy.append(text);
  }
  const ground = copy.ownerDocument.createElementNS("http://www.w3.org/2000/svg", "rect");
  ground.setAttribute("y", -ROOM);
  ground.setAttribute("width", "100%");
  ground.setAttribute("height", "100%");
  ground.setAttribute("fill", groundOf(picture));
  copy.prepend(ground);
  return new XMLSerializer().serializeToString(copy);
}

/** Save a picture under a name without its ending; `kind` is "svg" or "png"; `labels`: what stands left, right and below. */
export async function save(picture, name, kind, labels) {
  const drawn = new Blob([svgText(picture, labels)], { type: "image/svg+xml" });
  const { width, height } = picture.getBoundingClientRect();
  const file = kind === "svg" ? drawn : await rastered(drawn, { width, height: height + 2 * ROOM });
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: `${name}.${kind}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function rastered(drawn, { width, height }) {
  const image = new Image();
  image.src = URL.createObjectURL(drawn);
  await image.decode();
  URL.revokeObjectURL(image.src);
  const canvas = Object.assign(document.createElement("canvas"), { width: width * TIMES, height: height * TIMES });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

function groundOf(element) {
  for (let ancestor = element; ancestor; ancestor = ancestor.parentElement) {
    const { backgroundColor } = getComputedStyle(ancestor);
    if (backgroundColor !== "transparent" && backgroundColor !== "rgba(0, 0, 0, 0)") return backgroundColor;
  }
  return "white";
}
