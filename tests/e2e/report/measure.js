// What a reader would stumble over, as the browser laid it out.
const found = { drawings: 0, texts: 0, overlaps: [], beyond: [], too_wide: [], faint: [] };
found.is_dark = matchMedia("(prefers-color-scheme: dark)").matches;

const channel = (part) => {
  const value = part / 255;
  return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
};
const luminance = (colour) => {
  const [red, green, blue] = colour.match(/[\d.]+/g).map(Number);
  return 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};
const paper = getComputedStyle(document.body).backgroundColor;
const faint = (element, colour, least) => {
  if (!colour.startsWith("rgb(")) return;
  const seen = contrast(colour, paper);
  if (seen < least) {
    const what = `${element.getAttribute("class")} ${colour}: ${seen.toFixed(2)} below ${least}`;
    if (!found.faint.includes(what)) found.faint.push(what);
  }
};

for (const drawing of document.querySelectorAll("svg.plot")) {
  found.drawings += 1;
  const frame = drawing.getBoundingClientRect();
  const name = drawing.getAttribute("aria-labelledby").split("-title")[0];
  const texts = [...drawing.querySelectorAll("text")].map((text) => ({
    words: text.textContent, box: text.getBoundingClientRect(),
  }));
  found.texts += texts.length;
  for (const { words, box } of texts) {
    const out = box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
    if (out && words) found.beyond.push(`${name}: "${words}"`);
  }
  for (const mark of drawing.querySelectorAll("circle, path, rect, line")) {
    const box = mark.getBoundingClientRect();
    if (mark.closest("defs")) continue;
    if (box.left < frame.left - 2 || box.right > frame.right + 2
        || box.top < frame.top - 2 || box.bottom > frame.bottom + 2) {
      found.beyond.push(`${name}: ${mark.getAttribute("class")}`);
    }
  }
  texts.forEach(({ words, box }, index) => {
    for (const other of texts.slice(index + 1)) {
      const across = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
      const down = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
      // Line boxes are taller than letters.
      if (across > 1 && down > 4) {
        found.overlaps.push(`${name}: "${words}" and "${other.words}"`);
      }
    }
  });
}
for (const text of document.querySelectorAll(".plot text, .badge, .muted, .caption, td, a")) {
  const style = getComputedStyle(text);
  faint(text, text.closest("svg") ? style.fill : style.color, 4.5);
}
for (const mark of document.querySelectorAll(".plot .mark, .plot .bar, .plot .whisker, .plot .thread")) {
  const style = getComputedStyle(mark);
  const line = mark.matches(".run, .hollow, .whisker, .thread");
  faint(mark, line ? style.stroke : style.fill, 3);
}
const page = document.scrollingElement;
if (page.scrollWidth > innerWidth + 1) {
  found.too_wide.push(`the page: ${page.scrollWidth} in ${innerWidth}`);
}
const written = document.createElement("pre");
written.textContent = "weighbridge-measured:" + JSON.stringify(found);
document.body.append(written);
