// Arrow keys, Space, Home, End: another slide. S: the speaker's notes. Text that is too long for its slide gets smaller.
(() => {
  const slides = [...document.querySelectorAll(".slide")];
  const deck = document.getElementById("deck");
  const notes = document.getElementById("notes");
  let at = 0;

  const show = (place) => {
    slides[at].classList.remove("on");
    at = Math.max(0, Math.min(slides.length - 1, place));
    slides[at].classList.add("on");
    notes.innerHTML = slides[at].querySelector(".notes").innerHTML;
    history.replaceState(null, "", "#" + (at + 1));
  };
  const fill = () => {
    const scale = Math.min(innerWidth / 1280, innerHeight / 720);
    deck.style.transform = `scale(${scale}) translate(-50%, -50%)`;
  };
  const spills = (body) => body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1;
  const SMALLEST = 14;
  const smaller = (body) => {
    for (let size = parseFloat(getComputedStyle(body).fontSize); spills(body) && size > SMALLEST; size -= 1) {
      body.style.fontSize = size - 1 + "px";
    }
  };
  const shorter = (body) => {
    const rows = [...body.querySelectorAll("tbody > tr")];
    if (!spills(body) || rows.length < 2) return;
    const told = body.appendChild(document.createElement("p"));
    let left = 0;
    while (spills(body) && rows.length > 1) {
      rows.pop().remove();
      left += 1;
      told.textContent = `… and ${left} more in the chapter`;
    }
  };
  const fit = () => {
    for (const body of document.querySelectorAll(".slide .body")) {
      smaller(body);
      shorter(body);
    }
    document.body.dataset.fitted = "true";
  };
  const keys = {
    ArrowRight: () => show(at + 1), ArrowDown: () => show(at + 1), PageDown: () => show(at + 1), " ": () => show(at + 1),
    ArrowLeft: () => show(at - 1), ArrowUp: () => show(at - 1), PageUp: () => show(at - 1),
    Home: () => show(0), End: () => show(slides.length - 1),
    s: () => document.body.classList.toggle("noted"), S: () => document.body.classList.toggle("noted"),
  };
  addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("audio, button")) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => { keys[button.dataset.key](); button.blur(); });
  }
  addEventListener("resize", fill);
  fill();
  show((parseInt(location.hash.slice(1)) || 1) - 1);
  addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(fit));
})();
