// Texts cut into coloured tokens: one sentence by every tokenizer, and what is typed by some.
"use strict";

const segments = (() => {
  const N_COLOURS = 5;
  const DRAWN_AT_ONCE = 400; // about what a box shows; the rest follows, so that typing stays fluent
  const MARKS = { "\n": "⏎\n", "\r": "␍", "\t": "⇥", "\x7f": "␡" };
  const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const encoder = new TextEncoder();

  const hex = (byte) => byte.toString(16).toUpperCase().padStart(2, "0");

  const mark = (c) =>
    MARKS[c] ??
    (c < " "
      ? String.fromCodePoint(0x2400 + c.codePointAt(0))
      : `<${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);

  /** Returns bytes as parts [text, whether it is a mark]; bytes of no whole character are hex. */
  function parts(bytes) {
    const found = [];
    const add = (text, isMark) => {
      const last = found[found.length - 1];
      if (last && last[1] === isMark) last[0] += text;
      else found.push([text, isMark]);
    };
    for (let at = 0; at < bytes.length; ) {
      const lead = bytes[at];
      const size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      let character = null;
      try {
        character = at + size <= bytes.length ? strict.decode(bytes.subarray(at, at + size)) : null;
      } catch {
        // a part of a character
      }
      if (character === null) {
        add(hex(lead), true);
        at += 1;
        continue;
      }
      const isUnseen = character.match(UNSEEN) !== null;
      add(isUnseen ? mark(character) : character, isUnseen);
      at += size;
    }
    return found;
  }

  function token(bytes, id, index) {
    const span = document.createElement("span");
    span.className = `t${index % N_COLOURS}`;
    const about = id === undefined ? "" : `id ${id}, `;
    span.title = `${about}${bytes.length} ${bytes.length === 1 ? "byte" : "bytes"}`;
    if (!bytes.length) {
      span.classList.add("empty");
      span.title += ": none has its information end here";
      span.append(document.createElement("wbr")); // a line may end between two of them
      return span;
    }
    const text = bytes.every((b) => b >= 0x20 && b < 0x7f) ? String.fromCharCode(...bytes) : null;
    if (text !== null) {
      span.textContent = text;
      return span;
    }
    for (const [part, isMark] of parts(bytes)) {
      if (!isMark) {
        span.append(part);
        continue;
      }
      const small = document.createElement("i");
      small.textContent = part;
      span.append(small);
    }
    return span;
  }

  /** Draws tokens into a box; what was to come of an older text is given up. */
  function draw(box, bytes, { ids, lengths }) {
    const drawing = (box.drawing = {});
    let index = 0;
    let at = 0;
    const more = () => {
      if (box.drawing !== drawing) return;
      const part = document.createDocumentFragment();
      for (const stop = Math.min(index + DRAWN_AT_ONCE, lengths.length); index < stop; index++) {
        part.append(token(bytes.subarray(at, (at += lengths[index])), ids?.[index], index));
      }
      box.append(part);
      if (index < lengths.length) requestAnimationFrame(more);
    };
    box.replaceChildren();
    more();
  }

  const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

  function describe(element, bytes, lengths) {
    const ratio = lengths.length ? (bytes.length / lengths.length).toFixed(2) : "–";
    element.querySelector("b").textContent = ratio;
    element.querySelector("small").textContent = counted(lengths.length, "token");
  }

  /** Draws the sentence of the study by every tokenizer. */
  function drawSentence({ sentence, cuts }) {
    const bytes = encoder.encode(sentence);
    for (const cut of cuts) {
      const row = document.querySelector(`[data-cut="${CSS.escape(cut.name)}"]`);
      draw(row.querySelector(".tokens"), bytes, cut);
      describe(row.querySelector(".ratio"), bytes, cut.lengths);
    }
  }

  /** Makes the text box cut what is typed; resolves when it does. */
  async function makeLive({ codes: packed }) {
    const input = document.getElementById("typed");
    if (!input) return {};
    const encoders = {};
    for (const code of packed) encoders[code.name] = await codes.load(code);
    const show = () => {
      const bytes = encoder.encode(input.value);
      document.getElementById("typed-size").textContent = counted(bytes.length, "byte");
      for (const [name, encode] of Object.entries(encoders)) {
        const row = document.querySelector(`[data-live="${CSS.escape(name)}"]`);
        const start = performance.now();
        const cut = encode(bytes);
        row.dataset.milliseconds = performance.now() - start;
        draw(row.querySelector(".tokens"), bytes, cut);
        describe(row.querySelector(".ratio"), bytes, cut.lengths);
      }
    };
    input.addEventListener("input", show);
    show();
    return encoders;
  }

  return { drawSentence, makeLive, encode: (text) => encoder.encode(text) };
})();
