// plotly is 4.8 MB: it is fetched once something is to be drawn, and after what needs no drawing has been shown.

let loading = null;
let address = "/static/plotly.min.js";
let ready = Promise.resolve();

/** Where the server has it, with its version. */
export function plotlyAt(url) {
  if (url) address = url;
}

/** Fetch it only after this; then it does not hold up the first numbers. */
export function plotlyAfter(promise) {
  ready = promise;
}

/** The library; the same promise for all who ask. */
export function plotly() {
  loading ??= ready.then(() => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.async = true;
    script.onload = () => { performance.mark("plotly-loaded"); resolve(window.Plotly); };
    script.onerror = () => {
      loading = null; // the next refresh tries again
      script.remove();
      reject(new Error("the drawing library could not be loaded from this server; it is tried again with the next refresh"));
    };
    document.head.append(script);
  }));
  return loading;
}
