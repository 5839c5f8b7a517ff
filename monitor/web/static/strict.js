// plotly.js writes <style> elements and style attributes, which the content policy of these
// pages forbids. The policy allows the CSSOM, so the same rules go in by that door: a
// constructed sheet instead of an element, `style.cssText` instead of the attribute. The one
// sheet plotly fills with text is for its maps, which no page draws: it stays an inert element.
"use strict";

(() => {
  const create = Document.prototype.createElement;
  Document.prototype.createElement = function createElement(name, ...options) {
    if (String(name).toLowerCase() !== "style") return create.call(this, name, ...options);
    const inert = create.call(this, "x-style");
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(sheet);
    Object.defineProperty(inert, "sheet", { value: sheet });
    return inert;
  };

  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function setAttribute(name, value) {
    if (String(name).toLowerCase() === "style") this.style.cssText = value;
    else set.call(this, name, value);
  };
})();
