// What the page asks the service for. Every function throws an Error with one sentence that can be shown.

const KEPT = "wherefore-token";
const PATIENCE = 4; // how often a full queue is tried again
let askForToken = async () => null;

export const onToken = (ask) => { askForToken = ask; };

export const models = () => asked("v1/models");
export const methods = () => asked("v1/methods");
export const limits = () => asked("v1/health");
export const examples = () => asked("page/examples");

/** The file of a built-in example. */
export async function example({ picture, name }) {
  const blob = await (await reached(picture)).blob();
  return new File([blob], `${name.replace(":", "-")}.png`, { type: blob.type });
}

/** What the service says of a picture: its answer as it came, and in `told` what is common to all kinds of networks. */
export async function explain(model, method, file, wanted, signal) {
  const form = new FormData();
  form.append("image", file);
  form.append("model", model.name);
  form.append("method", method);
  form.append("include", "overlay");
  form.append("include", "map");
  for (const [field, values] of Object.entries(wanted)) {
    for (const value of [values].flat()) if (value) form.append(field, value);
  }
  const answer = await asked(model.route.slice(1), { method: "POST", body: form, signal });
  const image = answer.images[0];
  return { answer, image, whole: image.whole ?? null, targets: image.targets };
}

async function asked(path, options = {}) {
  return (await reached(path, options)).json();
}

async function reached(path, options = {}, tries = 0) {
  const token = sessionStorage.getItem(KEPT);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service cannot be reached: is it still running?");
  }
  if (response.ok) return response;
  if (response.status === 401) {
    const given = await askForToken();
    if (given) {
      sessionStorage.setItem(KEPT, given);
      return reached(path, options, tries);
    }
  }
  if (response.status === 503 && tries < PATIENCE) {
    await new Promise((go) => setTimeout(go, 1000 * Number(response.headers.get("Retry-After") ?? 1)));
    return reached(path, options, tries + 1);
  }
  const said = await response.json().catch(() => ({}));
  const sentence = said.error ?? `The service answered ${response.status}.`;
  throw new Error(sentence[0].toUpperCase() + sentence.slice(1));
}
