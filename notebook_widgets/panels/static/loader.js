// Ends a page: `sources` above holds modules by name, those that are imported before those that import them.
//
// A notebook loads a widget's module from memory, where "./dom.js" means nothing: each import is given the place in memory.

const places = new Map();
for (const [name, source] of Object.entries(sources)) {
  const linked = [...places].reduce((text, [other, place]) => text.replaceAll(`"./${other}.js"`, `"${place}"`), source);
  places.set(name, URL.createObjectURL(new Blob([linked], { type: "text/javascript" })));
}
const panel = await import([...places.values()].pop());
places.forEach((place) => URL.revokeObjectURL(place));

export default panel.default;
