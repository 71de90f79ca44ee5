/* What the page asks its server: addresses relative to the page, a token kept in memory, refusals with their sentence. */

/** The server answered, and not with what was asked for. */
export class Refusal extends Error {
  constructor(status, message, wait = null) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

/** The server did not answer. */
export class Unreachable extends Error {}

let token = null;
let asking = null;
let askToken = async () => null;

/** Where a token comes from: a function of whether one was refused, which gives it or null. */
export const onToken = (ask) => { askToken = ask; };

/** One question to the user however many requests wait for its answer. */
async function newToken(used) {
  if (token !== used) return token;
  asking ??= askToken(used !== null).finally(() => { asking = null; });
  const given = await asking;
  if (given === null) throw new Refusal(401, "This server asks for a token, and none was given.");
  token = given;
  return token;
}

const sentence = async (answer) => {
  try {
    const found = await answer.json();
    if (typeof found.error === "string") return found.error;
  } catch { /* no JSON: the status has to do */ }
  return `The server answered ${answer.status}${answer.statusText ? ` ${answer.statusText}` : ""}.`;
};

function waiting(answer) {
  const stated = Number(answer.headers.get("Retry-After"));
  return Number.isFinite(stated) && stated > 0 ? Math.min(stated, 60) : null;
}

async function sent(path, { method = "GET", body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  if (typeof body === "string") headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, { method, body, headers, signal, cache: "no-store", credentials: "same-origin", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("The server does not answer.");
  }
}

/** The JSON of an answer; asks for a token where one is needed. */
export async function ask(path, request = {}) {
  for (;;) {
    const used = token;
    const answer = await sent(path, request);
    if (answer.status === 401) {
      await newToken(used);
      continue;
    }
    if (!answer.ok) throw new Refusal(answer.status, await sentence(answer), waiting(answer));
    try {
      return await answer.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Unreachable("The server broke off its answer.");
    }
  }
}

export const guards = () => ask("guards");
export const guard = (name) => ask(`guards/${encodeURIComponent(name)}`);
export const alarms = (name) => ask(`alarms?guard=${encodeURIComponent(name)}`);
export const feedback = (said) => ask("feedback", { method: "POST", body: JSON.stringify(said) });

/** The decisions about some files, in order. */
export async function predict(files, { guard, site, signal }) {
  const body = new FormData();
  body.append("guard", guard);
  if (site) body.append("site", site);
  for (const file of files) body.append("images", file, file.name);
  const found = await ask("predict", { method: "POST", body, signal });
  if (!Array.isArray(found.decisions) || found.decisions.length !== files.length)
    throw new Refusal(200, "The server's answer does not fit the question: not one decision for each picture.");
  return found;
}
