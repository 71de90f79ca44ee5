/* From files to decisions: bounded requests, few at a time; what is busy is asked again, what is refused is split. */

import { predict, Refusal, Unreachable } from "./server.js";
import { size } from "./words.js";

const AT_ONCE = 2, MOST = 16, TRIES = 7, SLACK = 4096, PER_FILE = 512;

const sleep = (seconds, signal) => new Promise((go, stop) => {
  const timer = setTimeout(go, 1000 * seconds);
  signal.addEventListener("abort", () => { clearTimeout(timer); stop(new DOMException("stopped", "AbortError")); }, { once: true });
});

/** Items in groups that a server takes: few images, few bytes. */
export function batches(items, limits) {
  const most = Math.max(1, Math.min(limits.images ?? MOST, MOST)), bytes = (limits.bytes ?? Infinity) - SLACK;
  const groups = [];
  let group = [], weight = 0;
  for (const item of items) {
    const own = item.file.size + PER_FILE;
    if (group.length && (group.length >= most || weight + own > bytes)) {
      groups.push(group);
      [group, weight] = [[], 0];
    }
    group.push(item);
    weight += own;
  }
  return group.length ? [...groups, group] : groups;
}

export class Queue {
  /** `told(changed, state)` hears of items that changed, and of what the queue waits for. */
  constructor(told) {
    this.told = told;
    this.stop = null;
    this.groups = [];
    this.running = 0;
    this.finished = null;
  }

  get busy() { return this.running > 0 || this.groups.length > 0; }

  add(items, options) {
    const fit = [];
    for (const item of items) {
      const most = options.limits.bytes;
      if (most && item.file.size > most) this.fail([item], `${size(item.file.size)}, and this server takes ${size(most)} at once. Make the picture smaller.`);
      else fit.push(item);
    }
    this.stop ??= new AbortController();
    this.groups.push(...batches(fit, options.limits).map((group) => ({ group, options })));
    while (this.running < AT_ONCE && this.groups.length) this.worker();
  }

  /** Every picture that has no decision yet stays without one. */
  cancel() {
    const waiting = this.groups.flatMap(({ group }) => group);
    this.groups = [];
    this.stop?.abort();
    this.stop = null;
    this.fail(waiting, "Stopped before it was decided.");
  }

  fail(items, why) {
    for (const item of items) Object.assign(item, { state: "failed", error: why });
    if (items.length) this.told(items, null);
  }

  async worker() {
    this.running += 1;
    try {
      while (this.groups.length) {
        const { group, options } = this.groups.shift();
        await this.decide(group, options, this.stop.signal);
      }
    } finally {
      this.running -= 1;
      if (!this.busy) this.stop = null;
      this.told([], null);
    }
  }

  /** Those that the browser can still read; a file that was moved or changed would look like a server that is gone. */
  async readable(group) {
    const found = await Promise.all(group.map((item) => item.file.slice(0, 1).arrayBuffer().then(() => true, () => false)));
    this.fail(group.filter((_, place) => !found[place]), "The file cannot be read: it was moved, changed, or is a folder. Choose it again.");
    return group.filter((_, place) => found[place]);
  }

  async decide(chosen, options, signal) {
    const group = await this.readable(chosen);
    if (!group.length) return;
    for (let tries = 1; ; tries += 1) {
      try {
        this.take(group, await predict(group.map((item) => item.file), { ...options, signal }));
        return;
      } catch (error) {
        if (error.name === "AbortError") return this.fail(group, "Stopped before it was decided.");
        if (group.length > 1 && [400, 413, 422].includes(error.status)) {
          this.groups.unshift(...halves(group).map((half) => ({ group: half, options })));
          return;
        }
        if (error.status === 401) {
          this.fail([...group, ...this.groups.splice(0).flatMap((each) => each.group)], error.message);
          return;
        }
        const passing = error instanceof Unreachable || error.status === 503;
        if (!passing || tries >= TRIES) return this.fail(group, error instanceof Refusal || passing ? error.message : `The page failed: ${error.message}`);
        const seconds = error.wait ?? Math.min(2 ** (tries - 1), 20);
        this.told([], { wait: seconds, why: error.status === 503 ? "The server is busy" : error.message.replace(/\.$/, "") });
        try {
          await sleep(seconds, signal);
        } catch {
          return this.fail(group, "Stopped before it was decided.");
        }
      }
    }
  }

  take(group, found) {
    group.forEach((item, place) => Object.assign(item, { state: "decided", decision: found.decisions[place], guard: found.guard, request: found.request, error: null }));
    this.told(group, null);
  }
}

const halves = (group) => [group.slice(0, Math.ceil(group.length / 2)), group.slice(Math.ceil(group.length / 2))];
