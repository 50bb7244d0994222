// Codes that cut text in the browser as the Python tokenizers of the same names do.
//
// A code is a function from UTF-8 bytes to { ids, lengths }: the ids, and the bytes of each.
"use strict";

const codes = (() => {
  /** Returns what base64 of a zlib stream holds. */
  async function unpack(base64) {
    const packed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }

  /**
   * The compiled code: the longest text of a tree, again and again (latent_jax/tokenizers/trie.py).
   *
   * The tree comes as the bytes in the text of each id, uint16[n], and its last byte, uint8[n]; the
   * ids number the texts in their order, so that a text comes before its continuations.
   */
  function tree(buffer) {
    const n = buffer.byteLength / 3;
    const depths = new Uint16Array(buffer, 0, n);
    const labels = new Uint8Array(buffer, 2 * n, n);
    const root = n;
    const children = new Map(); // parent * 256 + byte -> id
    const path = [root];
    for (let id = 0; id < n; id++) {
      path.length = depths[id];
      children.set(path[depths[id] - 1] * 256 + labels[id], id);
      path.push(id);
    }
    return (bytes) => {
      const ids = [];
      const lengths = [];
      for (let start = 0, at = 0; at < bytes.length; start = at) {
        let node = root;
        for (let child; at < bytes.length; at++, node = child) {
          child = children.get(node * 256 + bytes[at]);
          if (child === undefined) break;
        }
        ids.push(node);
        lengths.push(at - start);
      }
      return { ids, lengths };
    };
  }

  // GPT-2's words, as Unicode has white space: \s of JavaScript has U+FEFF and not U+0085.
  const WORDS =
    /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
  const CACHED_WORDS = 1 << 16;

  /**
   * Byte-level BPE (latent_jax/tokenizers/bpe.py): within each word, the earliest merge first, and
   * the leftmost of equal ones.
   *
   * It comes as uint32: the ids of the 256 bytes, then left, right and merged ids of the merges,
   * one column after the other.
   */
  function merges(buffer) {
    const table = new Uint32Array(buffer);
    const idOfByte = table.subarray(0, 256);
    const n = (table.length - 256) / 3;
    const [left, right, merged] = [0, 1, 2].map((i) => table.subarray(256 + i * n, 256 + (i + 1) * n));
    const SHIFT = 2 ** 24; // above every id and every place in a word
    const sizes = new Map();
    for (const id of idOfByte) sizes.set(id, 1);
    const ranks = new Map();
    for (let rank = 0; rank < n; rank++) {
      ranks.set(left[rank] * SHIFT + right[rank], rank);
      sizes.set(merged[rank], sizes.get(left[rank]) + sizes.get(right[rank]));
    }
    const encoder = new TextEncoder();
    const cache = new Map();

    function encodeWord(word) {
      const ids = Array.from(encoder.encode(word), (byte) => idOfByte[byte]);
      const next = ids.map((_, i) => i + 1); // a list of what is left, linked both ways
      const before = ids.map((_, i) => i - 1);
      const end = ids.length;
      const heap = []; // rank * SHIFT + place, the smallest on top
      const rankAt = (i) => {
        const rank = i >= 0 && next[i] < end ? ranks.get(ids[i] * SHIFT + ids[next[i]]) : undefined;
        return rank === undefined ? -1 : rank;
      };
      const offer = (i) => {
        const rank = rankAt(i);
        if (rank >= 0) push(heap, rank * SHIFT + i);
      };
      for (let i = 0; i + 1 < end; i++) offer(i);
      while (heap.length) {
        const top = pop(heap);
        const rank = Math.floor(top / SHIFT);
        const i = top % SHIFT;
        if (ids[i] < 0 || rankAt(i) !== rank) continue; // another merge took one of the two
        ids[i] = merged[rank];
        ids[next[i]] = -1;
        next[i] = next[next[i]];
        if (next[i] < end) before[next[i]] = i;
        offer(before[i]);
        offer(i);
      }
      return ids.filter((id) => id >= 0);
    }

    return (bytes) => {
      const ids = [];
      for (const [word] of new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes).matchAll(WORDS)) {
        let known = cache.get(word);
        if (known === undefined) {
          known = encodeWord(word);
          if (cache.size >= CACHED_WORDS) cache.clear();
          cache.set(word, known);
        }
        for (const id of known) ids.push(id);
      }
      return { ids, lengths: ids.map((id) => sizes.get(id)) };
    };
  }

  function push(heap, value) {
    let i = heap.push(value) - 1;
    for (let parent; i > 0 && heap[(parent = (i - 1) >> 1)] > value; i = parent) heap[i] = heap[parent];
    heap[i] = value;
  }

  function pop(heap) {
    const top = heap[0];
    const value = heap.pop();
    const n = heap.length;
    if (!n) return top;
    let i = 0;
    for (let child = 1; child < n; child = 2 * i + 1) {
      if (child + 1 < n && heap[child + 1] < heap[child]) child++;
      if (heap[child] >= value) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = value;
    return top;
  }

  const KINDS = { tree, merges };
  return { load: async ({ kind, packed }) => KINDS[kind](await unpack(packed)) };
})();
