// Turns the <audio> elements around this script into one player: all versions are decoded once and started together on
// one clock; switching crosses their gains over. The state stands in the root's data-* attributes, for tests and readers.
(() => {
  const CROSSFADE_S = 0.01;
  const START_DELAY_S = 0.02; // all sources are scheduled before the first one sounds
  const root = document.currentScript.closest(".binaural-player");
  const plain = root.querySelector(".binaural-player-versions");
  const elements = [...plain.querySelectorAll("audio")];
  const names = elements.map((element) => element.getAttribute("aria-label"));
  const rateHz = Number(root.dataset.sampleRateHz);
  const durationS = Number(root.dataset.durationS);
  let buffers = [];
  let controls = null;
  let figure = null;
  let voice = null; // what sounds now: {context, sources, gains, master, at, from}
  let heldS = 0; // position while nothing sounds
  let active = 0;

  // ---- errors are shown, never swallowed ----
  function fail(error) {
    console.error("binaural player:", error);
    root.dataset.state = "error";
    plain.hidden = false;
    const message = root.querySelector(".binaural-player-error") ?? root.appendChild(document.createElement("div"));
    message.className = "binaural-player-error";
    message.setAttribute("role", "alert");
    message.textContent = `The player stopped: ${error?.message ?? error}. The plain audio elements play the same sounds.`;
  }
  const guarded = (action) => async (...given) => {
    try {
      await action(...given);
    } catch (error) {
      fail(error);
    }
  };

  // ---- sound ----
  function contextAtRate() {
    // one context for all players of a rate: browsers allow few; at the sound's own rate nothing is resampled here
    window.binauralContexts ??= new Map();
    if (!window.binauralContexts.has(rateHz)) {
      window.binauralContexts.set(rateHz, new AudioContext({ sampleRate: rateHz }));
    }
    return window.binauralContexts.get(rateHz);
  }

  function decode(element) {
    const text = atob(element.getAttribute("src").split(",")[1]);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    return new OfflineAudioContext(2, 1, rateHz).decodeAudioData(bytes.buffer);
  }

  function positionS() {
    if (!voice) return heldS;
    const sinceStart = Math.max(0, voice.context.currentTime - voice.at);
    return Math.min(voice.from + sinceStart, durationS);
  }

  async function play() {
    if (voice) return;
    window.dispatchEvent(new CustomEvent("binaural-player-starts", { detail: root }));
    const context = contextAtRate();
    await context.resume();
    if (voice) return;
    const at = context.currentTime + START_DELAY_S;
    const master = new GainNode(context, { gain: 1 });
    master.connect(context.destination);
    const gains = buffers.map((_, index) => new GainNode(context, { gain: index === active ? 1 : 0 }));
    const sources = buffers.map((buffer) => new AudioBufferSourceNode(context, { buffer }));
    sources.forEach((source, index) => source.connect(gains[index]).connect(master));
    const mine = { context, sources, gains, master, at, from: heldS };
    sources[0].onended = guarded(() => {
      if (voice === mine) halt(0);
    });
    sources.forEach((source) => source.start(at, heldS));
    voice = mine;
    show();
    requestAnimationFrame(follow);
  }

  function halt(resumeAtS) {
    if (voice) {
      const now = voice.context.currentTime;
      voice.master.gain.setValueAtTime(1, now);
      voice.master.gain.linearRampToValueAtTime(0, now + CROSSFADE_S);
      voice.sources.forEach((source) => source.stop(now + CROSSFADE_S));
    }
    voice = null;
    heldS = resumeAtS;
    show();
  }

  async function seek(toS) {
    const sounding = voice !== null;
    halt(Math.min(Math.max(toS, 0), durationS));
    if (sounding) await play();
  }

  function choose(index) {
    active = index;
    if (voice) {
      const now = voice.context.currentTime;
      voice.gains.forEach(({ gain }, version) => {
        gain.cancelScheduledValues(now);
        gain.setValueAtTime(gain.value, now);
        gain.linearRampToValueAtTime(version === active ? 1 : 0, now + CROSSFADE_S);
      });
    }
    show();
  }

  function follow() {
    if (!voice) return;
    if (root.isConnected) {
      show();
      requestAnimationFrame(follow);
    } else {
      halt(0); // the cell was run again or removed
    }
  }

  // ---- controls ----
  function add(parent, tag, properties = {}) {
    return parent.appendChild(Object.assign(document.createElement(tag), properties));
  }

  function build() {
    const bar = document.createElement("div");
    bar.className = "binaural-player-controls";
    const button = add(bar, "button", { type: "button" });
    const choices = add(bar, "fieldset");
    choices.setAttribute("aria-label", "Version");
    const group = `binaural-player-${Math.random()}`;
    const labels = names.map((name, index) => {
      const label = add(choices, "label");
      const radio = add(label, "input", { type: "radio", name: group, value: index });
      radio.addEventListener("change", guarded(() => choose(index)));
      label.append(name);
      return { label, radio };
    });
    const slider = add(bar, "input", { type: "range", min: 0, max: durationS, step: 0.01, value: 0 });
    slider.setAttribute("aria-label", "Position in the sound");
    slider.addEventListener("input", guarded(() => seek(Number(slider.value))));
    const clock = add(bar, "output");
    clock.setAttribute("aria-live", "off");
    button.addEventListener("click", guarded(() => (voice ? halt(positionS()) : play())));
    const keys = document.createElement("div");
    keys.className = "binaural-player-keys";
    keys.textContent = `Keys: space plays and pauses, 1 to ${names.length} choose the version.`;
    plain.before(bar, keys);
    root.addEventListener("keydown", guarded((event) => {
      const index = Number(event.key) - 1;
      if (event.key === " " && event.target !== button) {
        event.preventDefault();
        button.click();
      } else if (event.key !== " " && index in names) {
        choose(index);
      }
      event.stopPropagation(); // a notebook's own shortcuts stay out of the player
    }));
    window.addEventListener("binaural-player-starts", guarded(({ detail }) => {
      if (voice && detail !== root) halt(positionS());
    }));
    controls = { button, labels, slider, clock, keys };
  }

  function show() {
    const atS = positionS();
    root.dataset.state = voice ? "playing" : "paused";
    root.dataset.active = names[active];
    root.dataset.positionS = atS.toFixed(3);
    controls.button.textContent = voice ? "⏸ Pause" : "▶ Play";
    controls.labels.forEach(({ label, radio }, index) => {
      radio.checked = index === active;
      label.classList.toggle("active", index === active);
    });
    controls.slider.value = atS;
    controls.slider.setAttribute("aria-valuetext", `${atS.toFixed(1)} of ${durationS.toFixed(1)} seconds`);
    controls.clock.textContent = `${atS.toFixed(2)} / ${durationS.toFixed(2)} s`;
    drawPlayhead();
  }

  // ---- the playhead over the plotly figure that was displayed after this player ----
  function findFigure() {
    if (figure?.isConnected) return figure;
    const mine = (plot) =>
      plot.layout?.meta?.player === root.dataset.playerId &&
      root.compareDocumentPosition(plot) & Node.DOCUMENT_POSITION_FOLLOWING;
    const cell = root.closest(".jp-OutputArea") ?? document; // the same player may be shown by two cells
    figure = [...cell.querySelectorAll(".js-plotly-plot")].find(mine) ?? null;
    if (figure) {
      figure.classList.add("binaural-player-figure");
      figure.setAttribute("role", "img");
      figure.setAttribute("aria-label", root.dataset.picture);
      figure.on("plotly_afterplot", guarded(drawPlayhead));
      figure.on("plotly_click", guarded(({ points }) => seek(points[0].x)));
      if (!controls.keys.dataset.picture) controls.keys.append(" A click in the picture seeks.");
      controls.keys.dataset.picture = "linked";
    }
    return figure;
  }

  // The picture is the first image after this player in the cell. JupyterLab's plotly shows it until the mouse enters;
  // the playhead needs the figure as soon as it is in view. In an exported page it stays an image, and gets its words.
  let waking = false;
  async function wakeFigure() {
    if (waking || !root.dataset.picture) return; // a blind listening test has no picture
    waking = true;
    for (let wait = 0; wait < 100 && !findFigure(); wait++) {
      const images = root.closest(".jp-OutputArea")?.querySelectorAll("img") ?? [];
      const follows = (image) => root.compareDocumentPosition(image) & Node.DOCUMENT_POSITION_FOLLOWING;
      const mine = [...images].find(follows);
      if (mine && mine.alt !== root.dataset.picture) {
        mine.alt = root.dataset.picture;
        mine.dispatchEvent(new Event("mouseenter"));
      }
      await new Promise((later) => setTimeout(later, 300));
    }
    waking = false;
    drawPlayhead();
  }

  function drawPlayhead() {
    const plot = findFigure();
    const ground = plot?.querySelector(".svg-container");
    if (!ground) return;
    plot.layout.meta.panels.forEach(({ version, axis }, index) => {
      const panel =
        ground.querySelector(`.binaural-player-panel[data-index="${index}"]`) ??
        add(ground, "div", { className: "binaural-player-panel", innerHTML: "<div></div>" });
      panel.dataset.index = index;
      const x = plot._fullLayout[`xaxis${axis}`];
      const y = plot._fullLayout[`yaxis${axis}`];
      panel.style.left = `${x._offset}px`;
      panel.style.top = `${y._offset}px`;
      panel.style.width = `${x._length}px`;
      panel.style.height = `${y._length}px`;
      panel.classList.toggle("active", version === active);
      panel.firstChild.style.left = `${x.l2p(positionS())}px`;
    });
    root.dataset.playhead = "drawn";
  }

  // ---- start ----
  guarded(async () => {
    buffers = await Promise.all(elements.map(decode));
    build();
    plain.hidden = true;
    show();
    const whenSeen = guarded((seen) => (seen.some(({ isIntersecting }) => isIntersecting) ? wakeFigure() : null));
    new IntersectionObserver(whenSeen).observe(root);
    root.addEventListener("pointerenter", guarded(wakeFigure));
    root.addEventListener("focusin", guarded(wakeFigure));
  })();
})();
