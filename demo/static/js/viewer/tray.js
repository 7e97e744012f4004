/* The scans that are open, and the series to choose from. */

import { element } from "./dom.js";

/** What a scan can be called, and the label of each. */
export const ROLES = [
  ["current", "Current"],
  ["prior", "Prior"],
  ["frontal", "Frontal"],
  ["lateral", "Lateral"],
];

export function drawTray(viewer) {
  const several = viewer.order.length > 1;
  viewer.root.toggleAttribute("data-several", several);
  const cards = viewer.order.map((scan, index) => {
    const { state } = viewer.panes.get(scan.token);
    const card = element("li", index === viewer.at ? { "data-active": "" } : {});
    const name = ROLES.find(([key]) => key === state.role)?.[1] ?? state.role;
    const look = element("button", {
      type: "button",
      "data-do": "activate",
      "data-index": index,
      "aria-pressed": String(index === viewer.at),
      "aria-label": `Show ${name}: ${scan.title}`,
    });
    const picture = element("img", { src: scan.thumbnail, alt: "" });
    look.append(picture);
    card.append(look);
    if (several) {
      const role = element("select", {
        "data-role": scan.token,
        "aria-label": "What this scan is",
      });
      for (const [key, label] of ROLES) {
        const option = element("option", { value: key }, label);
        option.selected = key === state.role;
        role.append(option);
      }
      card.append(role);
    }
    card.append(
      element(
        "button",
        {
          type: "button",
          class: "remove",
          "data-do": "remove",
          "data-token": scan.token,
          "aria-label": `Remove ${name}: ${scan.title}`,
          title: "Remove",
        },
        "×",
      ),
    );
    return card;
  });
  viewer.find(".viewer-scans").replaceChildren(...cards);
}

/** The series of what was opened last, and the files that are none of them. Only this page knows
 *  the names of files: they are written here and were never sent. */
export function drawOffer(viewer, upload) {
  if (upload && viewer.sent?.name !== upload.name) {
    viewer.sent = { names: [], empty: [], ...viewer.sending, name: upload.name };
    viewer.sending = null;
  }
  const series = upload?.series ?? [];
  const room = viewer.order.length < ROLES.length;
  viewer.find(".viewer-series").replaceChildren(
    ...series.map(({ title, thumbnail, open }, index) => {
      const card = element("li", open ? { "data-open": "" } : {});
      const look = element("button", {
        type: "button",
        "data-do": "choose",
        "data-index": index,
        "aria-pressed": String(open),
        title,
      });
      look.append(element("img", { src: thumbnail, alt: "" }), element("span", {}, title));
      card.append(look);
      if (!open && room && viewer.order.length) {
        card.append(
          element(
            "button",
            {
              type: "button",
              class: "add",
              "data-do": "choose-add",
              "data-index": index,
              title: "Open beside",
              "aria-label": `Open beside: ${title}`,
            },
            "+",
          ),
        );
      }
      return card;
    }),
  );
  const named = ({ source, name, kind }) => {
    const sent = viewer.sent?.names[source];
    const within = sent && name && viewer.sent.names.length === 1;
    return [within || !sent ? name || (sent ?? `file ${source + 1}`) : sent, kind];
  };
  const left = [
    ...(upload?.left_out ?? []).map(named),
    ...(upload ? viewer.sent.empty.map((name) => [name, "an empty file"]) : []),
  ];
  const details = viewer.find(".viewer-left-out");
  details.hidden = !left.length;
  details.querySelector("summary").textContent =
    `Left out: ${left.length} ${left.length > 1 ? "files" : "file"}`;
  details
    .querySelector("ul")
    .replaceChildren(...left.map(([name, kind]) => element("li", {}, `${name}: ${kind}`)));
  viewer.find(".viewer-offer").hidden = !series.length && !left.length;
}
