/* What the parts of the page share. */

export const find = (selector) => document.querySelector(selector);

/** Whether the page is one column. */
export const narrow = window.matchMedia("(max-width: 760px)");

export const onAskPage = () => Boolean(find("#ask-page")?.offsetParent);
