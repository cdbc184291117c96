"use strict";
// Each event is the id of an element and what is in it now, as the agent wrote it: escaped there.
(() => {
  const state = document.getElementById("live");
  let source, again;

  const say = (kind, text) => {
    state.className = kind;
    if (state.textContent !== text) state.textContent = text;
  };
  // What somebody is selecting stays until they have let go of it.
  const isSelected = (element) => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && element.contains(selection.anchorNode);
  };
  const show = (event) => {
    const end = event.data.indexOf(" ");
    const element = document.getElementById(event.data.slice(0, end));
    if (element && !isSelected(element)) element.innerHTML = event.data.slice(end + 1);
    say("on", "live");
  };
  const stop = () => {
    clearTimeout(again);
    if (source) source.close();
    source = undefined;
  };
  const start = () => {
    stop();
    source = new EventSource("live" + location.search);
    source.onmessage = show;
    source.onerror = () => {
      // Eight watch at once; a browser does not ask again on its own where it was refused.
      const refused = source && source.readyState === EventSource.CLOSED;
      say("off", refused ? "not live" : "waiting for the agent");
      if (refused) again = setTimeout(start, 10000);
    };
  };
  // A page that nobody sees leaves its place to others, and costs nothing.
  const turn = () => (document.hidden ? (stop(), say("off", "paused")) : start());
  document.addEventListener("visibilitychange", turn);
  addEventListener("pagehide", stop);
  turn();
})();
