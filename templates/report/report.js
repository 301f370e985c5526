// Moves the line of a scene, and chooses what stands to the right of it.
"use strict";
for (const slider of document.querySelectorAll(".pair input")) {
  const show = () => {
    slider.parentElement.style.setProperty("--at", slider.value + "%");
    slider.setAttribute("aria-valuetext", slider.value + " % image");
  };
  slider.addEventListener("input", show);
  show(); // a browser may keep the value of an earlier visit
}
for (const choice of document.querySelectorAll(".choice input")) {
  const show = () => {
    if (choice.checked) document.getElementById("scenes").dataset.right = choice.value;
  };
  choice.addEventListener("change", show);
  show();
}
