// A table that is wider than the text takes the margin: the theme then moves the list of contents out of its way. This
// runs before the theme looks for what is in the margin, so it stands before the theme's own script. Where a table is
// wider still, its box says on which side there is more.
document.addEventListener("DOMContentLoaded", () => {
  const boxes = [...document.querySelectorAll(".bd-article :is(.emoser-table-scroll, .pst-scrollable-table-container)")];
  const show = (box) => {
    const hidden = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("emoser-more-right", hidden > 1);
    box.classList.toggle("emoser-more-left", box.scrollLeft > 1);
  };
  for (const box of boxes) {
    if (box.matches(".emoser-table-scroll") && box.scrollWidth > box.clientWidth) box.classList.add("full-width");
    box.addEventListener("scroll", () => show(box), { passive: true });
    new ResizeObserver(() => show(box)).observe(box);
  }
});

// Paper is light: a page in dark colours is printed in the others.
let shown;
addEventListener("beforeprint", () => { shown = document.documentElement.dataset.theme; document.documentElement.dataset.theme = "light"; });
addEventListener("afterprint", () => { document.documentElement.dataset.theme = shown; });
