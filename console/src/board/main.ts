// First: it takes the token out of the address, which the router reads.
import './door.svelte';
import { mount } from 'svelte';
import 'uplot/dist/uPlot.min.css';
import '../app.css';
import './board.css';
import Board from './Board.svelte';

const target = document.getElementById('app');
if (target) mount(Board, { target });
