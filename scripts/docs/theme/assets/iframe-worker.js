// Lets search work where pages are opened from a folder: browsers start no worker from a file. There, a hidden frame stands in for it.
// Owns: Worker of pages at file://. Must never: touch pages that a host serves.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      const answer = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.ready = new Promise((loaded) => {
        this.inside.postMessage = answer; // what the worker's script calls to answer
        this.inside.importScripts = () => {}; // only asked for languages other than English
        const script = frame.contentDocument.createElement("script");
        script.src = url;
        script.onload = loaded;
        frame.contentDocument.body.append(script);
      });
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {}
  };
}
