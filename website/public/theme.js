// Before anything is painted: the theme that the reader chose, if any.
try {
  var theme = localStorage.getItem('theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch (error) {
  // Without storage the system's theme holds.
}
document.documentElement.classList.add('js');
