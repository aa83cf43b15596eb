/* The elements that are seen on a page, with their classes: the one place of the mapping rules.

Classes are those of annotators/screen/classes.py. What is seen decides, not only the tag: a button
is something with a bounded area, a card something with a frame, a link is as large as its text.
In order, the first rule that fits an element gives its class:

  DIALOG           <dialog open>, role=dialog|alertdialog, .modal-content|.ui-dialog|.weui-dialog
  MAP              .leaflet-container, .jvectormap-container, .gmap..., #map...: 100 x 60 or more
  KEYBOARD         role=group with class keyboard, .keyboard, .keypad
  PAGER_INDICATOR  .carousel-indicators, .slick-dots, .swiper-pagination, .uk-dotnav
  SWITCH           role=switch; the drawn part of .custom-switch, .form-switch, .lever, .weui-switch,
                   .toggle-switch, .form-switch i.form-icon ...
  CHECKBOX, RADIO_BUTTON   <input type=checkbox|radio> or role, or, where a style sheet hides
                   the input, what it draws instead (a pseudo-element of the label, or a twin)
  SLIDER           <input type=range>, role=slider's track
  PROGRESS_BAR     <progress>, <meter>, .progress, role=progressbar's track
  DROPDOWN         <select>, role=combobox that is no input, .select2-selection, .bootstrap-select
  TEXT_INPUT       other <input>s that take text, <textarea>, contenteditable, role=textbox; with
                   the framed row that one without a frame fills
  TAB              role=tab, [data-toggle=tab], entries of .nav-tabs, .uk-tab, .tab-item
  BUTTON           <button>, submit and button inputs, role=button, .btn, .ui-btn: if a fill, a
                   frame or a shadow of its own bounds it; else, if text is in it, a LINK
  PICTOGRAM        an icon font's letter, an <svg> up to 64, an <img> up to 48, role=img that small
  IMAGE            larger <img> that has loaded, <svg>, <canvas> that is drawn on, <video>,
                   <iframe>, and background pictures from 40
  TABLE            <table> of two or more rows, role=table|grid; layout tables are not
  TOOLBAR          role=toolbar|banner, <header>, .navbar ...: two thirds of its room wide, at most
                   150 high
  NAVIGATION_BAR   <nav>, role=navigation, .sidebar, .tabbar ... with two links or more; not
                   breadcrumbs nor pages' numbers
  LIST_ITEM        <li>, role=listitem|option|menuitem, .list-group-item, .weui-cell: block-like,
                   outside navigation, tabs and toolbars
  CARD             whatever has a frame (border on three sides, shadow, or rounded fill), is 100 x 60
                   or more, less than four fifths of the view, and holds two elements or more
  LABEL            <label>, <legend>: its text
  LINK             <a href>, and a <label> whose control is hidden: its text
  TEXT             the text right in a block, with that of the inline elements in it

An element is seen if it has a box in the view after clipping by what scrolls or hides around it,
nothing makes it transparent, and of nine points over it two or more are not behind something
opaque. Texts lose the words that are cut off. Boxes are CSS pixels of the view.
*/
(() => {
const W = innerWidth, H = innerHeight;
const TEXTUAL = new Set(['text', 'search', 'email', 'password', 'number', 'tel', 'url', 'date',
  'time', 'datetime-local', 'month', 'week', 'color', 'file']);
const styles = new Map();
const css = (e, pseudo) => {
  if (pseudo) return getComputedStyle(e, pseudo);
  if (!styles.has(e)) styles.set(e, getComputedStyle(e));
  return styles.get(e);
};
const fold = s => s.replace(/\s+/g, ' ').trim();
const words = e => (typeof e.className === 'string' ? e.className : e.getAttribute('class') || '');
const has = (e, re) => re.test(' ' + words(e).replace(/\s+/g, ' ') + ' ');
const role = e => (e.getAttribute('role') || '').trim();
const area = b => Math.max(0, b.x1 - b.x0) * Math.max(0, b.y1 - b.y0);
const boxOf = r => ({x0: r.left, y0: r.top, x1: r.right, y1: r.bottom});
const meet = (a, b) => ({x0: Math.max(a.x0, b.x0), y0: Math.max(a.y0, b.y0),
  x1: Math.min(a.x1, b.x1), y1: Math.min(a.y1, b.y1)});
const wide = b => b.x1 - b.x0, high = b => b.y1 - b.y0;
const around = boxes => boxes.reduce((a, b) => ({x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0),
  x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1)}));
const alpha = colour => {
  const m = colour.match(/rgba?\(([^)]+)\)/);
  if (!m) return colour === 'transparent' ? 0 : 1;
  const parts = m[1].split(/[ ,/]+/);
  return parts.length > 3 ? parseFloat(parts[3]) : 1;
};
const parentOf = e => e.assignedSlot || e.parentElement ||
  (e.getRootNode() instanceof ShadowRoot ? e.getRootNode().host : null);
const within = (e, outer) => {
  for (let at = e; at; at = parentOf(at)) if (at === outer) return true;
  return false;
};
const inline = e => css(e).display.startsWith('inline') && css(e).display !== 'inline-flex' &&
  css(e).display !== 'inline-grid' || css(e).display === 'contents';
const framed = e => {
  const s = css(e);
  const sides = ['Top', 'Right', 'Bottom', 'Left'].filter(side =>
    parseFloat(s['border' + side + 'Width']) >= 1 && s['border' + side + 'Style'] !== 'none' &&
    alpha(s['border' + side + 'Color']) > 0.05).length;
  const shadow = s.boxShadow !== 'none' && !/rgba\(\d+, \d+, \d+, 0\)/.test(s.boxShadow);
  return sides >= 3 || shadow;
};
const ground = e => {
  for (let at = e; at; at = parentOf(at)) {
    const s = css(at);
    if (alpha(s.backgroundColor) > 0.5 || s.backgroundImage !== 'none') return s.backgroundColor;
  }
  return 'rgb(255, 255, 255)';
};
const filled = e => {
  const s = css(e);
  if (s.backgroundImage.includes('gradient')) return true;
  return alpha(s.backgroundColor) > 0.05 && parentOf(e) !== null &&
    s.backgroundColor !== ground(parentOf(e));
};
const bounded = e => framed(e) || filled(e);
const rounded = e => parseFloat(css(e).borderTopLeftRadius) > 0;

/* What is left of a box after everything around it has cut it. */
const clips = new Map();
function clipOf(e) {
  if (!e) return {x0: 0, y0: 0, x1: W, y1: H};
  if (clips.has(e)) return clips.get(e);
  const s = css(e), fixed = s.position === 'fixed';
  let clip = fixed ? {x0: 0, y0: 0, x1: W, y1: H} : clipOf(parentOf(e));
  const root = e === document.documentElement || e === document.body;
  if (!root && s.display !== 'contents' && !inline(e) &&
      (s.overflowX !== 'visible' || s.overflowY !== 'visible'))
    clip = meet(clip, boxOf(e.getBoundingClientRect()));
  if (s.clip !== 'auto' && s.position === 'absolute') clip = {x0: 0, y0: 0, x1: 0, y1: 0};
  clips.set(e, clip);
  return clip;
}
const clears = new Map();
function clear(e) {
  if (!e) return 1;
  if (!clears.has(e)) clears.set(e, parseFloat(css(e).opacity) * clear(parentOf(e)));
  return clears.get(e);
}
const opaque = e => {
  const s = css(e);
  if (clear(e) < 0.5) return false;
  return alpha(s.backgroundColor) > 0.6 ||
    (s.backgroundImage !== 'none' && s.backgroundImage.startsWith('url')) ||
    ['IMG', 'VIDEO', 'IFRAME'].includes(e.tagName);
};
/* Whether something opaque that is neither around nor inside `e` lies over (x, y). */
function behind(e, x, y) {
  for (const over of document.elementsFromPoint(x, y)) {
    if (over === e || within(over, e) || within(e, over)) return false;
    if (opaque(over)) return true;
  }
  return false;
}
function seen(e, b) {
  if (wide(b) < 3 || high(b) < 3) return false;
  let free = 0;
  for (const u of [0.15, 0.5, 0.85]) for (const v of [0.15, 0.5, 0.85]) {
    if (!behind(e, b.x0 + u * wide(b), b.y0 + v * high(b))) free += 1;
  }
  return free >= 2;
}
function shown(e) {
  const s = css(e);
  return s.visibility === 'visible' && clear(e) > 0.08;
}
function visibleBox(e, box) {
  const whole = box || boxOf(e.getBoundingClientRect());
  const cut = meet(whole, clipOf(css(e).position === 'fixed' ? null : parentOf(e)));
  if (area(whole) <= 0 || area(cut) < 0.25 * area(whole) && area(cut) < 6000) return null;
  return shown(e) && seen(e, cut) ? cut : null;
}

/* Texts. */
function cased(text, e) {
  const how = css(e).textTransform;
  if (how === 'uppercase') return text.toUpperCase();
  if (how === 'lowercase') return text.toLowerCase();
  return how === 'capitalize' ? text.replace(/(^|\s)(\S)/g, (_, a, b) => a + b.toUpperCase()) : text;
}
const range = document.createRange();
/* The words of a text node that are seen: [{text, box}], a word or the whole node each. */
function visibleWords(node) {
  const e = node.parentElement, found = [];
  if (!shown(e) || parseFloat(css(e).fontSize) < 4 || alpha(css(e).color) < 0.1) return found;
  range.selectNodeContents(node);
  const rects = [...range.getClientRects()].filter(r => r.width > 0.5 && r.height > 2);
  if (!rects.length) return found;
  const clip = clipOf(e), whole = around(rects.map(boxOf)), cut = meet(whole, clip);
  if (wide(cut) <= 0 || high(cut) <= 0) return found;
  const text = node.data;
  if (area(cut) > 0.98 * area(whole) && !rects.some(r => {
    const b = boxOf(r);
    return behind(e, (b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2) || behind(e, b.x0 + 2, b.y0 + 2);
  })) return [{text: cased(fold(text), e), boxes: rects.map(boxOf)}];
  for (const m of text.matchAll(/\S+/g)) {
    range.setStart(node, m.index); range.setEnd(node, m.index + m[0].length);
    const b = boxOf(range.getBoundingClientRect()), part = meet(b, clip);
    if (area(b) <= 0 || wide(part) < 0.6 * wide(b) || high(part) < 0.6 * high(b)) continue;
    if (behind(e, (part.x0 + part.x1) / 2, (part.y0 + part.y1) / 2)) continue;
    found.push({text: cased(m[0], e), boxes: [part]});
  }
  return found;
}
const skipped = e => ['SCRIPT', 'STYLE', 'NOSCRIPT', 'TEMPLATE', 'OPTION', 'HEAD', 'TITLE',
  'TEXTAREA', 'SELECT'].includes(e.tagName);
const children = e => e.shadowRoot ? [...e.shadowRoot.childNodes] :
  e.tagName === 'SLOT' && e.assignedNodes().length ? e.assignedNodes() : [...e.childNodes];
/* Words of `e` and what is in it, stopping where `stop` says. */
function textIn(e, stop) {
  let found = [];
  for (const node of children(e)) {
    if (node.nodeType === 3) { if (node.data.trim()) found = found.concat(visibleWords(node)); }
    else if (node.nodeType === 1 && !skipped(node) && !iconic(node) && !(stop && stop(node)))
      found = found.concat(textIn(node, stop));
  }
  return found;
}
const joined = parts => fold(parts.map(part => part.text).join(' '));
const textBox = parts => meet(around(parts.flatMap(part => part.boxes)), {x0: 0, y0: 0, x1: W, y1: H});

/* Icons. */
const FONTS = /icon|awesome|glyph|material symbols|simple-line|themify|ionicons|feather|weather|linea|entypo|flag/i;
const iconics = new Map();
function iconic(e) {
  if (iconics.has(e)) return iconics.get(e);
  let is = false;
  if (!['I', 'SPAN', 'EM', 'B', 'A', 'DIV'].includes(e.tagName)) is = false;
  else if (FONTS.test(css(e).fontFamily) && e.children.length === 0) is = true;
  else if (!fold(e.textContent) && !e.children.length && ['I', 'SPAN', 'EM', 'B'].includes(e.tagName)) {
    const inner = ['::before', '::after'].map(p => css(e, p)).filter(
      s => s.content !== 'none' && s.content !== 'normal');
    is = inner.some(s => FONTS.test(s.fontFamily) || /[\ue000-\uf8ff]/.test(s.content) ||
      s.content.startsWith('url'));
    const s = css(e);
    is = is || has(e, /icon|glyph/i) && (s.maskImage !== 'none' && s.maskImage !== undefined ||
      s.backgroundImage.startsWith('url') || inner.length > 0);
  }
  iconics.set(e, is);
  return is;
}
const COMMON = /^(fa|fas|far|fab|fal|fad|bi|glyphicon|icon|icons|material-icons|mdi|ti|fe|la|ion|nav-icon|fa-fw|fw|\d*x|lg|sm|xs|2x|3x|icon-lg|menu-icon|bx|tf-icons|ni|ik|dripicons)$/;
function iconName(e) {
  const use = e.querySelector && e.querySelector('use');
  if (use) return fold((use.getAttribute('href') || use.getAttribute('xlink:href') || '').split('#').pop());
  if (e.tagName === 'IMG') return fold(e.getAttribute('alt') || '');
  if (fold(e.textContent) && FONTS.test(css(e).fontFamily)) return fold(e.textContent).replace(/_/g, ' ');
  const found = words(e).split(/\s+/).filter(w => w.includes('-') && !COMMON.test(w) &&
    /^(fa|fas|bi|glyphicon|icon|mdi|ti|fe|la|lni|ion|bx|bxl|bxs|ni|ik|dripicons|flag|si|feather|uk-icon|weui-icon|wi|pe)-/.test(w) &&
    !/^fa-(fw|lg|\dx|spin|pulse|inverse|stack.*|sm|xs|rotate.*)$/.test(w));
  return found.length ? found[0].replace(/^[a-z]+(-icon)?-/, '').replace(/[-_]/g, ' ') : '';
}
function accessibleName(e) {
  const by = e.getAttribute('aria-labelledby');
  if (by) {
    const text = fold(by.split(/\s+/).map(id => (document.getElementById(id) || {}).textContent || '').join(' '));
    if (text) return text;
  }
  const direct = e.getAttribute('aria-label') || e.getAttribute('alt');
  if (direct) return fold(direct);
  if (e.labels && e.labels.length) return fold([...e.labels].map(l => l.textContent).join(' '));
  return fold(e.getAttribute('title') || e.getAttribute('data-original-title') || e.getAttribute('placeholder') || '');
}
function stateOf(e) {
  const found = [];
  for (const [name, on] of [['checked', e.checked || e.getAttribute('aria-checked') === 'true'],
    ['disabled', e.disabled || e.getAttribute('aria-disabled') === 'true'],
    ['expanded', e.getAttribute('aria-expanded') === 'true'],
    ['collapsed', e.getAttribute('aria-expanded') === 'false'],
    ['focused', e === document.activeElement && e !== document.body],
    ['pressed', e.getAttribute('aria-pressed') === 'true'], ['readonly', e.readOnly === true],
    ['required', e.required === true],
    ['selected', e.getAttribute('aria-selected') === 'true' || has(e, / active /)]])
    if (on) found.push(name);
  const now = e.getAttribute('aria-valuenow') ||
    (['progress', 'meter'].includes(e.localName) || e.type === 'range' ? String(e.value) : '');
  return found.concat(now ? ['value=' + now] : []).sort().join(' ');
}

/* Whether nothing was drawn on a canvas; one that may not be read counts as drawn on. */
function blank(canvas) {
  try {
    const context = canvas.getContext('2d');
    if (!context || !canvas.width || !canvas.height) return !canvas.width || !canvas.height;
    const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    for (let k = 3; k < data.length; k += 4 * 3) if (data[k]) return false;
    return true;
  } catch { return false; }
}

/* What a style sheet draws in place of a hidden checkbox. */
function drawnFor(input) {
  const holders = [...(input.labels || []), input.nextElementSibling, parentOf(input)].filter(
    e => e && e.nodeType === 1 && e.tagName !== 'INPUT' && !e.matches('body,form,html'));
  for (const holder of holders) {
    for (const twin of holder.querySelectorAll(
      '.lever, .form-icon, .icheckbox_square, .checkmark, .custom-control-indicator, .switchery, ' +
      '.slider, .custom-switch-indicator, .cr, .weui-icon-checked, .switch-slider, .toggle-group, ins')) {
      const b = boxOf(twin.getBoundingClientRect());
      if (wide(b) >= 9 && high(b) >= 9 && wide(b) < 90) return {e: twin, box: b};
    }
    for (const pseudo of ['::before', '::after']) {
      const s = css(holder, pseudo), w = parseFloat(s.width), h = parseFloat(s.height);
      if (s.content === 'none' || !(w >= 10 && h >= 10 && w < 80 && h < 50)) continue;
      const r = holder.getBoundingClientRect();
      const x = s.position === 'absolute' ? r.left + (parseFloat(s.left) || 0) : r.left;
      const y = s.position === 'absolute' ? r.top + (parseFloat(s.top) || 0) : r.top;
      return {e: holder, box: {x0: x, y0: y, x1: x + w, y1: y + h}};
    }
  }
  return null;
}
const SWITCHES = / (custom-switch|form-switch|switch|weui-switch|toggle-switch|c-switch|switchery|custom-switch-input|lever|ui-flipswitch|label-switch|onoffswitch-checkbox) /;
const isSwitch = e => [e, parentOf(e), parentOf(e) && parentOf(parentOf(e))].some(
  at => at && (role(at) === 'switch' || has(at, SWITCHES)));

const NAV = '.sidebar, .main-sidebar, .sidenav, .side-nav, .sidebar-menu, .navbar-nav, #sidebar, .tabbar, ' +
  '.weui-tabbar, .ui-navbar, .menu_section, .sidebar-nav, .main-menu, .app-sidebar, .bottom-nav, .nav-primary';
const links = e => e.querySelectorAll('a, button, [role=menuitem]').length;
const isNav = (e, b) => (e.matches('nav, [role=navigation]') || e.matches(NAV)) &&
  !e.closest('.pagination, .breadcrumb, .dropdown-menu') && !e.matches('[role=tablist]') &&
  !(e.matches('.navbar') && wide(b) > high(b)) &&
  !e.querySelector('.breadcrumb, .pagination') && !/breadcrumb|pagin/i.test(words(e) + (e.getAttribute('aria-label') || '')) &&
  links(e) >= 2;
const BARS = 'header, [role=banner], [role=toolbar], .navbar, .toolbar, .topbar, .main-header, .app-header, .ui-header, .top_nav, .nav_menu, .subnavbar';

function classOf(e, b, c) {
  const tag = e.localName, r = role(e), w = wide(b), h = high(b);
  if (tag === 'dialog' && e.open || r === 'dialog' && !e.querySelector('.modal-content') || r === 'alertdialog' ||
      e.matches('.modal-content, .ui-dialog-contain, .weui-dialog, .swal2-popup, .uk-modal-dialog'))
    if (w < 0.98 * W || h < 0.9 * H) return w >= 60 && h >= 40 ? 'DIALOG' : null;
  if (e.matches('.leaflet-container, .jvectormap-container, .mapael, [id^=gmap], [id$=map], [id^=map], .gmap, .jqvmap, [id*=vmap]') &&
      w >= 100 && h >= 60 && !e.matches('input, a, li') && !e.closest('svg') && e.querySelector('svg, canvas, img')) return 'MAP';
  if (e.matches('.keyboard, .keypad, .ui-keyboard, .weui-keyboard')) return 'KEYBOARD';
  if (e.matches('.carousel-indicators, .slick-dots, .swiper-pagination, .uk-dotnav, .owl-dots, .bx-pager')) return 'PAGER_INDICATOR';
  if (tag === 'input' && ['checkbox', 'radio'].includes(e.type))
    return isSwitch(e) && e.type === 'checkbox' ? 'SWITCH' : e.type === 'radio' ? 'RADIO_BUTTON' : 'CHECKBOX';
  if (r === 'switch') return 'SWITCH';
  if (r === 'checkbox') return 'CHECKBOX';
  if (r === 'radio') return 'RADIO_BUTTON';
  if (tag === 'input' && e.type === 'range' ||
      e.matches('.irs, .noUi-target, .ui-slider-track, .bootstrap-slider, .slider.slider-horizontal, .weui-slider, .ui-slider:not(.ui-slider-switch)') && w > 30)
    return 'SLIDER';
  if (['progress', 'meter'].includes(tag) || e.matches('.progress, .progress-group > .progress, .uk-progress, .weui-progress__bar, .bar:not(.bar-header)') && h <= 40 && w >= 24)
    return 'PROGRESS_BAR';
  if (r === 'progressbar' && h <= 40 && w >= 24 && !c.within('PROGRESS_BAR') && !e.closest('.progress')) return 'PROGRESS_BAR';
  if (tag === 'select' || r === 'combobox' && tag !== 'input' ||
      e.matches('.select2-selection, .select2-choice, .chosen-single, .selectize-input, .bootstrap-select > .btn, .bootstrap-select > button, .custom-select, .ui-select > .ui-btn, .choices__inner'))
    return tag === 'select' && (e.size > 1 || e.multiple) && h > 50 ? 'TEXT_INPUT' : 'DROPDOWN';
  if (tag === 'input' && TEXTUAL.has(e.type) || tag === 'textarea' ||
      e.isContentEditable && !(parentOf(e) && parentOf(e).isContentEditable) || r === 'textbox' || r === 'searchbox')
    return 'TEXT_INPUT';
  if (r === 'tab' || e.matches('[data-toggle=tab], [data-bs-toggle=tab], .nav-tabs > li > a, .nav-tabs > .nav-item > .nav-link, .uk-tab > li > a, .tab > .tab-item > a, .weui-navbar__item, .tabs-menu a, .nav-tabs a.nav-item'))
    return 'TAB';
  const act = tag === 'button' || tag === 'input' && ['submit', 'button', 'reset', 'image'].includes(e.type) ||
    r === 'button' || tag === 'summary' && bounded(e) || (tag === 'a' || tag === 'label' || tag === 'span' || tag === 'div') &&
    (has(e, / (btn|button|ui-btn|uk-button|weui-btn|btn-app) /) || tag === 'a' && has(e, / (page-link) /));
  if (act && bounded(e) && w >= 12 && h >= 12 && w * h < 0.25 * W * H) return 'BUTTON';
  if (act && tag !== 'label' && fold(e.textContent) && !iconic(e)) return 'LINK';
  if (iconic(e)) return Math.max(w, h) <= 130 ? 'PICTOGRAM' : 'IMAGE';
  if (tag === 'svg' && !c.inside.closest('svg')) return Math.max(w, h) <= 64 ? 'PICTOGRAM' : 'IMAGE';
  if (tag === 'img' && e.complete && !e.naturalWidth) return null;
  if (tag === 'img' || r === 'img' && !fold(e.textContent))
    return Math.max(w, h) <= 48 ? 'PICTOGRAM' : 'IMAGE';
  if (tag === 'canvas' && blank(e)) return null;
  if (['canvas', 'video', 'iframe', 'object', 'embed'].includes(tag)) return w >= 24 && h >= 24 ? 'IMAGE' : null;
  if (css(e).backgroundImage.startsWith('url') && w >= 40 && h >= 40 && w * h < 0.9 * W * H && !fold(e.textContent) && !e.querySelector('input, img, svg'))
    return Math.max(w, h) <= 48 ? 'PICTOGRAM' : 'IMAGE';
  if (tag === 'table' && r !== 'presentation' && r !== 'none' && e.rows.length >= 2 || r === 'table' || r === 'grid')
    return w >= 60 && h >= 30 && !c.within('TABLE') ? 'TABLE' : null;
  if (isNav(e, b) && (w >= 60 && h >= 24) && !c.within('NAVIGATION_BAR') && !c.within('TOOLBAR')) return 'NAVIGATION_BAR';
  if ((e.matches(BARS) && !e.closest('.card, .panel, .modal, .dropdown-menu, article')) && h >= 24 && h <= 150 && w >= 0.55 * W && !c.within('TOOLBAR'))
    return b.y0 < 260 || css(e).position === 'fixed' ? 'TOOLBAR' : null;
  if ((tag === 'li' || ['listitem', 'option', 'menuitem'].includes(r) || has(e, / (list-group-item|weui-cell|dropdown-item|ui-li-static|item-content|media) /)) &&
      !inline(e) && w >= 40 && h >= 14 && !c.within('NAVIGATION_BAR') && !c.within('TOOLBAR') && !c.within('PAGER_INDICATOR') &&
      !e.closest('.pagination, .breadcrumb, [role=tablist], .nav-tabs, .uk-tab, .tab, .tabs-menu') && !e.querySelector('.tab-pane'))
    if (css(parentOf(e)).display !== 'flex' || css(parentOf(e)).flexDirection.startsWith('column') || w > 120) return 'LIST_ITEM';
  if (!inline(e) && w >= 100 && h >= 60 && w * h < 0.8 * W * H && (framed(e) || filled(e) && rounded(e)) &&
      !['td', 'th', 'tr', 'tbody', 'fieldset', 'form', 'li', 'body'].includes(tag) && e.querySelectorAll('*').length >= 2)
    return 'CARD?';
  if (tag === 'label' && e.control && e.control.hidden) return 'LINK'; // it folds something out
  if (tag === 'label' || tag === 'legend') return 'LABEL';
  if (tag === 'a' && (e.hasAttribute('href') || e.onclick)) return 'LINK';
  return null;
}

const found = [];
/* The state of the walk: what holds the element at hand. */
class Context {
  constructor(depth, kinds, inside) { this.depth = depth; this.kinds = kinds; this.inside = inside; }
  within(kind) { return this.kinds.includes(kind); }
  into(kind, e) { return new Context(this.depth + 1, [...this.kinds, kind], e); }
}
function put(kind, e, b, text, depth, state) {
  const one = {kind, text: text || '', name: accessibleName(e), state: state === undefined ? stateOf(e) : state, depth,
    x0: Math.max(0, b.x0), y0: Math.max(0, b.y0), x1: Math.min(W, b.x1), y1: Math.min(H, b.y1)};
  if (kind === 'PICTOGRAM' && !one.name) one.name = iconName(e);
  found.push(one);
  return one;
}
const SPOKEN = new Set(['LABEL', 'LINK', 'BUTTON', 'TAB', 'DROPDOWN', 'TEXT_INPUT']);
function valueOf(e) {
  if (e.localName === 'select') return fold([...e.selectedOptions].map(o => o.textContent).join(' '));
  if (e.localName === 'input' && ['password'].includes(e.type)) return e.value ? '•'.repeat(e.value.length) : fold(e.placeholder || '');
  return fold(e.value || e.placeholder || '');
}
/* The pictures that stand in something that speaks for itself. */
function picturesIn(e, c) {
  for (const node of children(e)) {
    if (node.nodeType !== 1 || skipped(node)) continue;
    const b = boxOf(node.getBoundingClientRect());
    const kind = area(b) > 0 ? classOf(node, b, c) : null;
    if (kind === 'PICTOGRAM' || kind === 'IMAGE') { const v = visibleBox(node); if (v) put(kind, node, v, '', c.depth); }
    else if (['CHECKBOX', 'RADIO_BUTTON', 'SWITCH', 'SLIDER', 'TEXT_INPUT', 'DROPDOWN', 'PROGRESS_BAR', 'BUTTON'].includes(kind)) visit(node, c);
    else picturesIn(node, c);
  }
}
const own = new Set(['BUTTON', 'TEXT_INPUT', 'DROPDOWN', 'CHECKBOX', 'RADIO_BUTTON', 'SWITCH', 'SLIDER', 'LABEL', 'LINK', 'TAB']);
/* A field without a frame of its own is as large as the framed row that it fills. */
function fieldOf(e, box) {
  const row = parentOf(e);
  if (framed(e) || filled(e) || !row || !bounded(row)) return box;
  const b = boxOf(row.getBoundingClientRect());
  const alone = row.querySelectorAll('input, textarea, select, button').length === 1;
  return alone && high(b) < 1.7 * high(box) && wide(b) < 1.6 * wide(box) ? meet(b, clipOf(parentOf(row))) : box;
}
function toggle(e, kind, c) {
  let box = visibleBox(e), drawn = e;
  const s = css(e);
  if (!box || s.opacity === '0' || wide(box) < 8) {
    const other = drawnFor(e);
    if (!other) return;
    drawn = other.e;
    box = visibleBox(drawn, other.box);
  } else if (s.appearance === 'none' && wide(box) > 1.5 * high(box) && kind === 'CHECKBOX') kind = 'SWITCH';
  if (box && wide(box) < 0.5 * W) put(wide(box) > 1.6 * high(box) && kind === 'CHECKBOX' ? 'SWITCH' : kind, e, box, '', c.depth);
}
function visit(e, c) {
  if (skipped(e) && e.tagName !== 'TEXTAREA' && e.tagName !== 'SELECT') return;
  const s = css(e);
  if (s.display === 'none' || e.tagName === 'INPUT' && e.type === 'hidden') return;
  const rect = boxOf(e.getBoundingClientRect());
  let kind = area(rect) > 0 || e.tagName === 'INPUT' ? classOf(e, rect, c) : null;
  if (['CHECKBOX', 'RADIO_BUTTON', 'SWITCH'].includes(kind) && e.tagName === 'INPUT') return toggle(e, kind, c);
  if (kind === null) return descend(e, c);
  if (kind === 'LINK' || kind === 'LABEL') return spoken(e, kind, c);
  const box = visibleBox(e);
  if (!box) return descend(e, c);
  if (kind === 'CARD?') return card(e, box, c);
  if (kind === 'BUTTON' || kind === 'TAB' || kind === 'DROPDOWN' || kind === 'TEXT_INPUT') {
    if (kind === 'TEXT_INPUT') Object.assign(box, fieldOf(e, box));
    const simple = ['input', 'select', 'textarea'].includes(e.localName);
    put(kind, e, box, simple ? valueOf(e) : joined(textIn(e)), c.depth);
    if (!simple) picturesIn(e, c.into(kind, e));
    return;
  }
  if (['PICTOGRAM', 'IMAGE', 'SWITCH', 'CHECKBOX', 'RADIO_BUTTON', 'SLIDER', 'PROGRESS_BAR', 'PAGER_INDICATOR'].includes(kind)) {
    put(kind, e, box, '', c.depth);
    if (e.localName === 'svg' && kind === 'IMAGE') svgTexts(e, c.into(kind, e));
    else if (kind === 'PROGRESS_BAR' || kind === 'SLIDER') descend(e, c.into(kind, e));
    return;
  }
  const at = found.length;
  put(kind, e, box, '', c.depth, kind === 'LIST_ITEM' ? undefined : '');
  descend(e, c.into(kind, e));
  if (found.length === at + 1 && kind !== 'MAP' && kind !== 'KEYBOARD') found.pop();
}
function svgTexts(svg, c) {
  for (const t of svg.querySelectorAll('text')) {
    const text = fold(t.textContent), b = text && visibleBox(t);
    if (b && shown(t)) put('TEXT', t, b, text, c.depth, '');
  }
}
function card(e, box, c) {
  const at = found.length;
  put('CARD', e, box, '', c.depth, '');
  descend(e, c.into('CARD', e));
  const twin = found[at + 1] && found[at + 1].kind === 'CARD' && area(found[at + 1]) > 0.9 * area(box);
  if (found.length - at < 3 || twin) {  // holds next to nothing, or is another card's shell
    found.splice(at, 1);
    for (const one of found.slice(at)) one.depth -= 1;
  }
}
/* A link or a label is as large as its text; around several blocks it is no element of its own. */
function spoken(e, kind, c) {
  const blocks = [...e.querySelectorAll('p, div, h1, h2, h3, h4, h5, h6, img, input, select, textarea, ul')].filter(
    b => css(b).display !== 'none' && (b.tagName !== 'IMG' || b.width > 48));
  const one = blocks.length === 1 && /^(P|DIV|H[1-6])$/.test(blocks[0].tagName);
  if (blocks.length && !one && (blocks.length > 1 || kind === 'LINK')) return descend(e, c);
  const parts = textIn(e);
  if (!parts.length) return descend(e, c);
  put(kind, e, textBox(parts), joined(parts), c.depth, stateOf(e));
  picturesIn(e, c.into(kind, e));
}
/* The children of `e`; runs of inline content become a TEXT with the links in it. */
function descend(e, c) {
  let run = [];
  const flush = () => {
    const nodes = run;
    run = [];
    if (!nodes.length) return;
    const bare = [];
    let alone = true;
    const gather = node => {
      if (node.nodeType === 3) {
        if (node.data.trim()) { const w = visibleWords(node); if (w.length) alone = false; bare.push(...w); }
      } else if (node.nodeType === 1 && !skipped(node) && css(node).display !== 'none' && !iconic(node)) {
        if (node.localName === 'a' && node.hasAttribute('href') && !has(node, / (btn|button) /)) bare.push(...textIn(node));
        else if (own.has(classOf(node, boxOf(node.getBoundingClientRect()), c)) || ['IMG', 'svg', 'CANVAS', 'TABLE'].includes(node.tagName)) return;
        else children(node).forEach(gather);
      }
    };
    nodes.forEach(gather);
    const inner = bare.length && !alone;
    const at = found.length;
    if (inner) put('TEXT', e, textBox(bare), joined(bare), c.depth, '');
    if (inner) { found[at].name = ''; }
    const deeper = inner ? c.into('TEXT', e) : c;
    const special = node => {
      if (node.nodeType !== 1) return;
      const r = boxOf(node.getBoundingClientRect());
      if (skipped(node) && !['TEXTAREA', 'SELECT'].includes(node.tagName)) return;
      const kind = area(r) > 0 || node.tagName === 'INPUT' ? classOf(node, r, deeper) : null;
      if (kind !== null && kind !== 'CARD?' && kind !== 'LIST_ITEM') visit(node, own.has(kind) && kind !== 'LINK' ? c : deeper);
      else children(node).forEach(special);
    };
    nodes.forEach(special);
  };
  for (const node of children(e)) {
    if (node.nodeType === 3) run.push(node);
    else if (node.nodeType !== 1 || css(node).display === 'none') continue;
    else if (node.localName === 'br') run.push(node);
    else if (inlineRun(node)) run.push(node);
    else { flush(); visit(node, c); }
  }
  flush();
}
/* Inline all through, so that it belongs to the text around it. */
function inlineRun(e) {
  if (!inline(e) || ['absolute', 'fixed'].includes(css(e).position) || css(e).float !== 'none') return false;
  if (css(e).display === 'inline-block' && bounded(e)) return false;
  return [...e.querySelectorAll('*')].every(x => css(x).display === 'none' || css(x).display.startsWith('inline') || x.localName === 'br');
}
if (document.body) visit(document.body, new Context(0, [], document.body));
return found.filter(one => one.x1 - one.x0 >= 3 && one.y1 - one.y0 >= 3);
})()
