// Waiting: between tries, and for what others do.

/** Resolves after so many milliseconds, or as soon as one of the signals is aborted. */
export function sleep(milliseconds, ...signals) {
  return new Promise((resolve) => {
    const timer = setTimeout(awake, milliseconds);
    function awake() {
      clearTimeout(timer);
      for (const signal of signals) signal?.removeEventListener("abort", awake);
      resolve();
    }
    for (const signal of signals) {
      if (signal?.aborted) awake();
      else signal?.addEventListener("abort", awake, { once: true });
    }
  });
}

/** Delays that double, with jitter: many runs lose their sidecar in the same moment. */
export class Pace {
  constructor(first, most) {
    this.first = first;
    this.most = most;
    this.reset();
  }

  reset() {
    this.delay = this.first;
  }

  next() {
    const delay = this.delay;
    this.delay = Math.min(this.most, delay * 2);
    return delay * (0.5 + Math.random() / 2);
  }
}
