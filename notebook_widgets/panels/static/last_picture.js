// The last picture of a panel: it stands in the notebook beside the widget, for when no kernel is there to draw it.

import { h } from "./dom.js";

const NOT_OF_A_PICTURE = "button, .as-more > label, input, textarea, details, .as-why, .as-whys, .as-strip, .as-tip, .as-saves, .as-foot, [role=tablist], [role=tabpanel], [hidden]";

/** Keep a picture of what `el` shows whenever the notebook is saved, and at the end; returns what ends that. */
export function keepPicture(raw, el) {
  const context = raw.widget_manager?.context;
  const { id } = raw.get("view");
  raw.widget_manager?.get_model?.(id)?.then((model) => el.classList.toggle("as-unfed", model.comm_live === false)).catch(() => {});
  if (!context?.saveState || !id) return () => {}; // nothing is saved here, as in Voila
  let kept = "";
  const keep = () => {
    if (el.classList.contains("as-unfed")) return; // it has nothing newer than the picture that is there
    const drawn = picture(el);
    if (!drawn || drawn === kept) return;
    kept = drawn;
    const html = `<style>${raw.get("_css")}</style><div class="as-kept">${drawn}<p class="as-help">As it was at ${new Date().toLocaleString()}</p></div>`;
    for (const { outputs } of context.model.cells) {
      outputs?.toJSON().forEach((output, i) => {
        if (output.metadata?.agent_service === id) outputs.set(i, { ...output, data: { ...output.data, "text/html": html } });
      });
    }
  };
  const saving = (_, state) => state === "started" && keep();
  context.saveState.connect(saving);
  return () => {
    keep();
    context.saveState.disconnect(saving);
  };
}

/** What is shown as HTML that needs no script: without what one presses, and as wide as there is room. */
export function picture(el) {
  return [...el.querySelectorAll(".as-panel")].map((panel) => {
    const copy = panel.cloneNode(true);
    [copy, ...copy.querySelectorAll(".as-open")].forEach((element) => element.classList.remove("as-dim", "as-open"));
    const [shown, copied] = [panel, copy].map((from) => [...from.querySelectorAll("select")]);
    shown.forEach((select, i) => copied[i].replaceWith(h("span", { hidden: select.hidden }, select.selectedOptions[0]?.text ?? "")));
    copy.querySelectorAll(NOT_OF_A_PICTURE).forEach((element) => element.remove());
    copy.querySelectorAll("svg[role=img]").forEach((plot) => {
      plot.setAttribute("viewBox", `0 0 ${plot.getAttribute("width")} ${plot.getAttribute("height")}`);
      plot.setAttribute("width", "100%");
      plot.removeAttribute("height");
    });
    return copy.outerHTML.replaceAll(/(\d\.\d\d)\d+/g, "$1");
  }).join("");
}
