// Plays generated motion with its audio. The audio is the clock: every picture shows the motion at
// the time of the audio, so that both stay together after a seek, a pause or a change of speed.

const {
  ACESFilmicToneMapping, AnimationClip, AnimationMixer, Color, DirectionalLight, Fog, GridHelper,
  HemisphereLight, LoopOnce, Mesh, PCFShadowMap, PerspectiveCamera, PlaneGeometry, Scene,
  ShadowMaterial, SkeletonHelper, Vector3, WebGLRenderer, OrbitControls, GLTFLoader,
} = three;

const BACKGROUND = new Color(0xe6eaf0);
const TRUTH_COLOUR = new Color(0x9c7f58);
const SPACING = 1.1; // Metres between the two figures.
const SPAN = 20; // Seconds that the waveform shows.
const PEAKS_PER_SECOND = 200;

const element = (id) => document.getElementById(id);

function show(message) {
  element("message").textContent = message;
  element("message").hidden = !message;
}

async function load(url, as) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(await answer.text());
  // Meshes and audio in a report are compressed.
  if (answer.headers.get("Content-Type") === "application/gzip") {
    return new Response(answer.body.pipeThrough(new DecompressionStream("gzip")))[as]();
  }
  return answer[as]();
}

// The interface of an audio element, for clips without audio.
class SilentClock {
  constructor(duration) {
    this.duration = duration;
    this.paused = true;
    this.rate = 1;
    this.since = 0;
    this.at = 0;
  }
  get currentTime() {
    const moved = this.paused ? 0 : (this.rate * (performance.now() - this.since)) / 1000;
    return Math.min(this.at + moved, this.duration);
  }
  set currentTime(seconds) { this.at = seconds; this.since = performance.now(); }
  get playbackRate() { return this.rate; }
  set playbackRate(rate) { this.currentTime = this.currentTime; this.rate = rate; }
  get ended() { return this.currentTime >= this.duration; }
  play() { this.currentTime = this.ended ? 0 : this.currentTime; this.paused = false; return Promise.resolve(); }
  pause() { this.currentTime = this.currentTime; this.paused = true; }
}

// One figure: its skeleton, mesh and motion.
class Figure {
  constructor(gltf, parts, colour) {
    this.root = gltf.scene;
    this.clip = gltf.animations[0];
    this.parts = parts;
    this.mixer = new AnimationMixer(this.root);
    this.rest = new Map();
    this.root.traverse((node) => {
      this.rest.set(node, [node.position.clone(), node.quaternion.clone()]);
      if (!node.isMesh) return;
      node.castShadow = true;
      node.frustumCulled = false;
      if (colour && node.material.name === "figure") node.material.color = colour;
    });
    this.bones = new SkeletonHelper(this.root);
    this.bones.visible = false;
    this.move(new Set(["face", "upper", "hands", "lower", "path"]));
  }

  // Move only the chosen parts; the others stay in the rest pose.
  move(chosen) {
    const tracks = this.clip.tracks.filter((track) => {
      const node = track.name.slice(0, track.name.lastIndexOf("."));
      if (track.name.endsWith(".position")) return chosen.has("path");
      if (track.name.endsWith(".morphTargetInfluences")) return chosen.has("face");
      return chosen.has(this.parts[node] ?? "upper");
    });
    this.mixer.stopAllAction();
    for (const [node, [position, quaternion]] of this.rest) {
      node.position.copy(position);
      node.quaternion.copy(quaternion);
      node.morphTargetInfluences?.fill(0);
    }
    const clip = new AnimationClip("chosen", this.clip.duration, tracks);
    this.action = this.mixer.clipAction(clip).setLoop(LoopOnce).play();
    this.action.clampWhenFinished = true;
  }

  pelvisAt(seconds) {
    this.at(seconds);
    return this.root.getObjectByName("pelvis").getWorldPosition(new Vector3());
  }

  // Move the figure so that it starts at a place to the left or right of the middle.
  start(x) {
    this.offset = x;
    this.root.position.set(0, 0, 0);
    const { x: left, z } = this.pelvisAt(0);
    this.root.position.set(x - left, 0, -z);
  }

  at(seconds) {
    // Set directly, because `mixer.setTime` cannot leave the end of a finished action.
    this.action.paused = false;
    this.action.enabled = true;
    this.action.time = Math.min(Math.max(seconds, 0), this.clip.duration);
    this.mixer.update(0);
  }
}

class Stage {
  constructor(canvas) {
    this.renderer = new WebGLRenderer({ canvas, antialias: true });
    this.renderer.toneMapping = ACESFilmicToneMapping;
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.scene = new Scene();
    this.scene.background = BACKGROUND;
    this.scene.fog = new Fog(BACKGROUND, 6, 10);
    this.scene.add(new HemisphereLight(0xffffff, 0xaab2bd, 2.2));
    this.sun = new DirectionalLight(0xffffff, 2.2);
    this.sun.castShadow = true;
    this.sun.shadow.mapSize.set(2048, 2048);
    this.sun.shadow.radius = 6;
    Object.assign(this.sun.shadow.camera, { left: -2.5, right: 2.5, top: 2.5, bottom: -2.5 });
    this.scene.add(this.sun, this.sun.target);
    this.floor = new Mesh(new PlaneGeometry(40, 40), new ShadowMaterial({ opacity: 0.25 }));
    this.floor.rotation.x = -Math.PI / 2;
    this.floor.receiveShadow = true;
    this.grid = new GridHelper(8, 16, 0xb3bbc7, 0xc9d0d9);
    this.scene.add(this.floor, this.grid);
    this.camera = new PerspectiveCamera(28, 1, 0.05, 60);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.maxPolarAngle = 0.55 * Math.PI;
    this.figures = [];
  }

  setFigures(figures, floor) {
    for (const figure of this.figures) this.scene.remove(figure.root, figure.bones);
    this.figures = figures;
    for (const figure of figures) this.scene.add(figure.root, figure.bones);
    this.floor.position.y = floor;
    this.grid.position.y = floor + 0.001;
  }

  front(target) {
    this.controls.target.copy(target);
    const distance = this.figures.length > 1 ? 5.6 : 4.6;
    this.camera.position.set(target.x, target.y + 0.35, target.z + distance);
    this.sun.target.position.copy(target);
    this.sun.position.set(target.x - 1.5, target.y + 3, target.z + 2.5);
  }

  draw() {
    const canvas = this.renderer.domElement;
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = Math.min(window.devicePixelRatio, 2);
    if (canvas.width !== Math.floor(width * ratio) || canvas.height !== Math.floor(height * ratio)) {
      this.renderer.setPixelRatio(ratio);
      this.renderer.setSize(width, height, false);
      this.camera.aspect = width / height;
      this.camera.updateProjectionMatrix();
    }
    this.controls.update();
    this.renderer.render(this.scene, this.camera);
  }
}

// A canvas with the resolution of the screen, and its drawing context.
function prepared(canvas) {
  const ratio = window.devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

class Timeline {
  constructor(player) {
    this.player = player;
    this.peaks = [];
    for (const id of ["waveform", "error"]) {
      element(id).addEventListener("pointerdown", (event) => {
        const { left, width } = event.currentTarget.getBoundingClientRect();
        player.seek(this.from() + ((event.clientX - left) / width) * this.span());
      });
    }
  }

  span() { return Math.min(SPAN, this.player.duration); }

  // The first second shown: the cursor stays in the middle of a long clip.
  from() {
    const { time, duration } = this.player;
    return Math.max(0, Math.min(time - this.span() / 2, duration - this.span()));
  }

  draw() {
    this.drawWaveform();
    if (this.player.entry.error) this.drawError();
  }

  drawWaveform() {
    const { context, width, height } = prepared(element("waveform"));
    const from = this.from();
    const toX = (seconds) => ((seconds - from) / this.span()) * width;
    const middle = 0.36 * height;
    const loudest = this.loudest || 1;
    const step = this.span() / width;
    for (let x = 0; x < width; x += 1) {
      const first = Math.floor((from + x * step) * PEAKS_PER_SECOND);
      const last = Math.max(first + 1, Math.ceil((from + (x + 1) * step) * PEAKS_PER_SECOND));
      let peak = 0;
      for (let k = first; k < last; k += 1) peak = Math.max(peak, this.peaks[k] ?? 0);
      const size = Math.max(0.5, (0.32 * height * peak) / loudest);
      context.fillStyle = from + x * step <= this.player.time ? "#40546f" : "#b2bac6";
      context.fillRect(x, middle - size, 1, 2 * size);
    }
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    const placed = this.player.entry.words
      .filter(([start, end]) => end >= from && start <= from + this.span())
      .map(([start, end, text]) => {
        const half = context.measureText(text).width / 2 + 2;
        const x = toX((start + end) / 2);
        const now = start <= this.player.time && this.player.time < end;
        return { text, x, left: x - half, right: x + half, now };
      });
    const current = placed.find((word) => word.now);
    const hides = (other, word) => other && other.left < word.right && word.left < other.right;
    let last = null;
    for (const word of placed) {
      if (!word.now && (hides(current, word) || hides(last, word))) continue;
      context.fillStyle = word.now ? "#d64c3a" : "#6b7280";
      context.fillText(word.text, word.x, height - 9);
      last = word;
    }
    context.fillStyle = "#d64c3a";
    context.fillRect(toX(this.player.time) - 1, 0, 2, 0.74 * height);
  }

  drawError() {
    const { context, width, height } = prepared(element("error"));
    const error = this.player.entry.error;
    const rate = this.player.entry.fps;
    const from = this.from();
    const largest = this.player.largestError;
    context.strokeStyle = "#95703f";
    context.beginPath();
    for (let x = 0; x < width; x += 1) {
      const frame = Math.floor((from + (x / width) * this.span()) * rate);
      if (frame >= error.length) break;
      context.lineTo(x, height - 4 - (error[frame] / largest) * (height - 22));
    }
    context.stroke();
    const frame = Math.min(Math.floor(this.player.time * rate), error.length - 1);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = "#6b7280";
    const distance = `${(100 * error[frame]).toFixed(1)} cm`;
    const text = `distance of joints to ground truth, pelvis at one place: ${distance}`;
    const fits = context.measureText(text).width < width - 16;
    context.fillText(fits ? text : `distance to ground truth: ${distance}`, 8, 13);
    context.fillStyle = "#d64c3a";
    context.fillRect(((this.player.time - from) / this.span()) * width - 1, 0, 2, height);
  }
}

class Player {
  constructor(stage, parts) {
    this.stage = stage;
    this.parts = parts;
    this.entry = { words: [], error: null, fps: 30 };
    this.clock = new SilentClock(1);
    this.duration = 1;
    this.timeline = new Timeline(this);
    // Changes of view and options so far.
    this.changes = 0;
    this.stage?.controls.addEventListener("change", () => { this.changes += 1; });
  }

  get time() { return this.clock.currentTime; }
  // The time that the figure shows.
  get shown() { return this.stage?.figures[0]?.action.time ?? 0; }

  async open(entry) {
    this.clock.pause();
    show("");
    this.entry = entry;
    this.duration = entry.seconds;
    this.largestError = entry.error ? Math.max(0.01, ...entry.error) : 1;
    const [figures] = await Promise.all([this.loadFigures(entry), this.loadAudio(entry)]);
    this.clock.playbackRate = Number(element("speed").value);
    element("facts").textContent = entry.facts;
    element("error").hidden = !entry.error;
    element("labels").hidden = !entry.truth;
    element("with-truth").hidden = !entry.truth;
    if (this.stage) {
      this.stage.setFigures(figures, entry.floor);
      this.applyOptions();
      this.front();
    }
    this.changes += 1;
  }

  async loadFigures(entry) {
    if (!this.stage) return [];
    const loader = new GLTFLoader();
    const make = async (url, colour) =>
      new Figure(await loader.parseAsync(await load(url, "arrayBuffer"), ""), this.parts, colour);
    const figures = [await make(entry.glb)];
    if (entry.truth) figures.push(await make(entry.truth, TRUTH_COLOUR));
    return figures;
  }

  async loadAudio(entry) {
    this.timeline.peaks = [];
    URL.revokeObjectURL(this.source);
    this.clock = new SilentClock(entry.seconds);
    if (!entry.audio) return;
    const content = await load(entry.audio, "arrayBuffer");
    // From memory, so that every place can be reached at once.
    this.source = URL.createObjectURL(new Blob([content], { type: "audio/wav" }));
    const audio = new Audio(this.source);
    audio.preservesPitch = true;
    await new Promise((resolve, reject) => {
      audio.onloadedmetadata = resolve;
      audio.onerror = () => reject(new Error("This browser cannot play the audio."));
    });
    this.clock = audio;
    this.findPeaks(content);
  }

  // The largest amplitude of each 5 ms of a wav file of 16-bit mono samples at 16 kHz.
  findPeaks(content) {
    const samples = new Int16Array(content, 44, Math.floor((content.byteLength - 44) / 2));
    const size = 16000 / PEAKS_PER_SECOND;
    const peaks = new Float32Array(Math.ceil(samples.length / size));
    for (let k = 0; k < samples.length; k += 1) {
      const bin = Math.floor(k / size);
      peaks[bin] = Math.max(peaks[bin], Math.abs(samples[k]) / 32768);
    }
    this.timeline.peaks = peaks;
    this.timeline.loudest = peaks.reduce((a, b) => Math.max(a, b), 1e-3);
  }

  applyOptions() {
    const chosen = new Set(
      [...document.querySelectorAll("#parts input:checked")].map((input) => input.value),
    );
    const [generated, truth] = this.stage.figures;
    for (const figure of this.stage.figures) {
      figure.move(chosen);
      figure.bones.visible = element("skeleton").checked;
      figure.root.visible = true;
    }
    const beside = Boolean(truth) && element("truth").checked;
    generated.start(beside ? -SPACING / 2 : 0);
    if (truth) {
      truth.start(SPACING / 2);
      truth.root.visible = beside;
      truth.bones.visible &&= beside;
    }
    element("labels").hidden = !beside;
    this.changes += 1;
  }

  // Look at the place between the figures.
  front() {
    const { x, z } = this.stage.figures[0].pelvisAt(this.time);
    const middle = x - this.stage.figures[0].offset;
    this.stage.front(new Vector3(middle, this.entry.floor + 0.95, z));
    this.changes += 1;
  }

  seek(seconds) {
    this.clock.currentTime = Math.max(0, Math.min(seconds, this.duration));
  }

  toggle() {
    if (this.clock.paused || this.clock.ended) {
      this.clock.play().catch((error) => show(`The audio cannot play: ${error.message}`));
    } else {
      this.clock.pause();
    }
  }

  draw() {
    const stopped = this.clock.paused || this.clock.ended;
    // A page that stands still is not drawn again, which would only use up a laptop's battery.
    const size = [innerWidth, innerHeight, devicePixelRatio];
    const picture = [this.time, stopped, this.changes, ...size].join(" ");
    if (picture === this.picture) return;
    this.picture = picture;
    element("play").textContent = stopped ? "Play" : "Pause";
    element("time").textContent = `${this.time.toFixed(2)} / ${this.duration.toFixed(2)} s`;
    if (this.stage) {
      const time = this.time;
      for (const figure of this.stage.figures) figure.at(time);
      // Seconds that the figure is behind the audio, for tests. Not the time that the picture then
      // takes to draw: that is the graphics card's, and a busy software renderer takes 60 ms.
      this.drift = this.time - this.shown;
      this.stage.draw();
    }
    this.timeline.draw();
  }
}

async function main() {
  // A report has its clips in the page.
  const embedded = element("clips");
  const { clips, parts } = embedded
    ? JSON.parse(embedded.textContent)
    : await load("clips.json", "json");
  let stage = null;
  try {
    stage = new Stage(element("figure"));
  } catch {
    // The audio, the waveform and the words work all the same.
  }
  const player = new Player(stage, parts);
  window.player = player;

  const open = async () => {
    try {
      await player.open(clips[element("clip").selectedIndex]);
      if (!stage) show("This browser has no WebGL, so the figure is not shown. Turn on hardware acceleration, or use another browser.");
      document.body.dataset.ready = String(element("clip").selectedIndex);
    } catch (error) {
      show(error.message);
    }
  };
  for (const { name } of clips) element("clip").append(new Option(name));
  element("clip").onchange = open;
  element("play").onclick = () => player.toggle();
  element("view").onclick = () => stage && player.front();
  element("speed").onchange = (event) => { player.clock.playbackRate = Number(event.target.value); };
  for (const input of document.querySelectorAll("#parts input, #skeleton, #truth")) {
    input.onchange = () => stage && player.applyOptions();
  }
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("button, select, input")) return;
    if (event.key === " ") player.toggle();
    else if (event.key === "ArrowLeft") player.seek(player.time - 1);
    else if (event.key === "ArrowRight") player.seek(player.time + 1);
    else return;
    event.preventDefault();
  });
  await open();
  const draw = () => {
    player.draw();
    requestAnimationFrame(draw);
  };
  draw();
}

main().catch((error) => show(error.message));
