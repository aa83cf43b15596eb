/* Put a page into another language and font before it is measured: ({texts, language, fonts, seed})
=> nothing. `texts` are real interface texts of the language, sorted by length; each text of
the page gives way to one of about its length (a third of it in scripts that write a word in a
letter or two), the same to the same; a text runs from right to left where its letters do. Numbers
stay. Icon fonts keep their letters. */
({texts, language, fonts, seed}) => {
  const ICONS = /icon|awesome|glyph|symbols|simple-line|themify|ionicons|feather|weather|linea|entypo|flag/i;
  const hash = s => {
    let h = 2166136261 ^ seed;
    for (let i = 0; i < s.length; i++) h = Math.imul(h ^ s.charCodeAt(i), 16777619);
    return (h >>> 0) / 4294967296;
  };
  const lengths = texts.map(t => t.length);
  const dense = /^(zh|ja|ko)/.test(language) ? 0.4 : 1;
  const first = n => {
    let low = 0, high = lengths.length;
    while (low < high) { const mid = (low + high) >> 1; if (lengths[mid] < n) low = mid + 1; else high = mid; }
    return low;
  };
  const other = text => {
    const plain = text.trim();
    if (!texts.length || !/\p{L}{2}/u.test(plain)) return text;
    const n = Math.max(1, plain.length * dense);
    const start = first(n * 0.7), end = Math.max(first(n * 1.25 + 1), start + 1);
    const parts = [];
    let left = n;
    if (start >= texts.length) {  // longer than any: several in a row
      for (let k = 0; left > 0 && k < 200; k++) {
        const t = texts[Math.floor(texts.length * (0.5 + 0.5 * hash(plain + k)))];
        parts.push(t); left -= t.length + 1;
      }
    } else parts.push(texts[Math.min(texts.length - 1, start + Math.floor(hash(plain) * (end - start)))]);
    return text.replace(plain, () => parts.join(' '));
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  for (const node of nodes) {
    const e = node.parentElement;
    if (!node.data.trim() || !e || e.closest('script, style, noscript, template')) continue;
    if (ICONS.test(getComputedStyle(e).fontFamily)) continue;
    if (fonts) e.style.setProperty('font-family', fonts, 'important');
    node.data = other(node.data);
    if (texts.length && !e.dir) e.dir = 'auto';
  }
  for (const e of document.querySelectorAll('input, textarea, select')) {
    if (fonts) e.style.setProperty('font-family', fonts, 'important');
    if (e.placeholder) e.placeholder = other(e.placeholder);
    if (['submit', 'button', 'reset'].includes(e.type)) e.value = other(e.value);
  }
  if (texts.length) document.documentElement.lang = language;
}
