// What the page uses of three.js.
export {
  ACESFilmicToneMapping,
  AnimationClip,
  AnimationMixer,
  Color,
  DirectionalLight,
  Fog,
  GridHelper,
  HemisphereLight,
  LoopOnce,
  Mesh,
  PCFShadowMap,
  PerspectiveCamera,
  PlaneGeometry,
  Scene,
  ShadowMaterial,
  SkeletonHelper,
  Vector3,
  WebGLRenderer,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
