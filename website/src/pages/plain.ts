// Pages of text: only the theme switch and the explanations.
import { startPage } from '../core/page.ts';

startPage();
document.documentElement.dataset['ready'] = 'yes';
